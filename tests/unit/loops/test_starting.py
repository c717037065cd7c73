"""Starting attempts: what becomes of what cannot be had."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.containers import FakeContainers
from tests.fakes.log_store import FakeLogStore
from tests.fakes.puller import FakePuller
from wasm_node.agent import errors, statedir
from wasm_node.agent.files import localpods
from wasm_node.agent.loops import starting
from wasm_node.agent.model import environment, ids, image, observed, parsing

DIGEST = ids.Digest("sha256:" + 64 * "0")
PROGRAM = image.Program(Path("/x.wasm"), DIGEST, image.Kind.MODULE, ())
IMAGE = image.Image("x", "x@y", "B", 1, PROGRAM.path, DIGEST, None)


class Refusing(localpods.LocalPods):
    """A source whose objects nobody may read."""

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """Refuse, with the API server's own reason."""
        raise errors.Retryable(f"GET {kind} {namespace}/{name}: 403", reason="Forbidden")


async def _start(pod_ip: str, **fields: Any) -> observed.Running:
    container = {"name": "main", "image": "x", **fields}
    meta = {"name": "p", "namespace": "n", "uid": "u"}
    pod = parsing.pod({"metadata": meta, "spec": {"containers": [container]}})
    starter = starting.Starter(
        Refusing(),
        FakePuller({"x": IMAGE}),
        FakeContainers(),
        FakeLogStore(),
        statedir.StateDir(Path("/state"), Path("/run"), Path("/logs")),
        lambda: environment.Place("node", "192.0.2.1", pod_ip),
    )
    here = observed.ImageHere(IMAGE.image_id, PROGRAM, IMAGE)
    return await starter.start(pod, pod.container("main"), here, attempt=0)


async def test_an_object_that_may_not_be_read_is_trouble_with_the_configuration() -> None:
    """As on a kubelet (ErrCreateContainerConfig), whatever the API says."""
    with pytest.raises(errors.Retryable) as told:
        await _start("192.0.2.1", envFrom=[{"secretRef": {"name": "theirs"}}])

    assert told.value.reason == "CreateContainerConfigError"
    assert "Secret n/theirs: 403" in str(told.value)


async def test_a_port_of_the_host_that_cannot_be_had_is_said() -> None:
    """The container waits, as with any field that cannot be honoured here."""
    ports = [{"containerPort": 80, "hostPort": 80}]
    with pytest.raises(errors.BadInput, match=r"main\.ports\.hostPort: 80") as told:
        await _start("10.0.0.5", ports=ports)
    running = await _start("192.0.2.1", ports=ports)

    assert told.value.reason == "UnsupportedPodSpec"
    assert running.id.container == "main"
