"""Starting attempts: what becomes of what cannot be had."""

import dataclasses
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
from wasm_node.protocol import records

DIGEST = ids.Digest("sha256:" + 64 * "0")
PROGRAM = image.Program(Path("/x.wasm"), DIGEST, image.Kind.MODULE, ())
IMAGE = image.Image("x", "x@y", "B", 1, PROGRAM.path, DIGEST, None)


class Refusing(localpods.LocalPods):
    """A source whose objects nobody may read."""

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """Refuse, with the API server's own reason."""
        raise errors.Retryable(f"GET {kind} {namespace}/{name}: 403", reason="Forbidden")


async def _start(
    pod_ip: str,
    *,
    found: image.Image = IMAGE,
    runtime: FakeContainers | None = None,
    annotations: Mapping[str, str] | None = None,
    grace: int = 30,
    policy: str = "Always",
    **fields: Any,
) -> observed.Running:
    container = {"name": "main", "image": "x", **fields}
    meta = {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations or {}}
    spec = {
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "terminationGracePeriodSeconds": grace,
        "restartPolicy": policy,
    }
    pod = parsing.pod({"metadata": meta, "spec": spec})
    starter = starting.Starter(
        Refusing(),
        FakePuller({"x": found}),
        runtime or FakeContainers(),
        FakeLogStore(),
        statedir.StateDir(Path("/state"), Path("/run"), Path("/logs")),
        lambda: environment.Place("node", "192.0.2.1", pod_ip),
    )
    here = observed.ImageHere(found.image_id, PROGRAM, found)
    return await starter.start(pod, pod.container("main"), here, attempt=0, life="")


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


@pytest.mark.parametrize(
    ("fields", "mounts", "name"),
    [
        ({}, [records.Mount("/state/pods/u/containers/main/0/message", "/dev", False)],
         "termination-log"),
        ({"terminationMessagePath": "/run/words"},
         [records.Mount("/state/pods/u/containers/main/0/message", "/run", False)], "words"),
        ({"terminationMessagePath": ""}, [], ""),
        ({"volumeMounts": [{"name": "data", "mountPath": "/dev"}]},
         [records.Mount("/state/pods/u/volumes/data", "/dev", False)], ""),
        ({"ports": [{"containerPort": 80}], "annotations": {"wasm-node.dev/http": "wagi"}}, [], ""),
    ],
    ids=["usual", "named", "none", "volume", "http"],
)  # fmt: skip
async def test_a_guest_is_given_a_file_for_its_last_words(
    fields: dict[str, Any], mounts: list[records.Mount], name: str
) -> None:
    """Behind all other mounts; not where it would hide one, nor to a server."""
    runtime = FakeContainers()
    await _start("192.0.2.1", runtime=runtime, **fields)

    (spec,) = runtime.specs
    assert (mounts, name) == (list(spec.mounts), spec.message_file)


async def test_last_words_that_would_hide_files_are_refused(tmp_path: Path) -> None:
    """Of the image or of a volume; an empty directory hides nothing."""
    for each in ("empty", "etc/app"):
        (tmp_path / each).mkdir(parents=True)
    found = dataclasses.replace(IMAGE, tree=tmp_path)
    mounts = [{"name": "data", "mountPath": "/data"}]
    for path in ("/etc/words", "/data/words"):
        named: dict[str, Any] = {"terminationMessagePath": path, "volumeMounts": mounts}
        with pytest.raises(errors.BadInput, match=f"main.terminationMessagePath: {path}") as told:
            await _start("192.0.2.1", found=found, **named)
        assert told.value.reason == "UnsupportedPodSpec"

    runtime = FakeContainers()
    for path in ("/empty/words", "/new/words"):
        await _start("192.0.2.1", found=found, runtime=runtime, terminationMessagePath=path)
    assert runtime.specs[-1].message_file == "words"


@pytest.mark.parametrize(("grace", "stop_grace_s"), [(0, 2.0), (1, 2.0), (30, 30.0)])
async def test_others_that_end_by_themselves_have_that_too(grace: int, stop_grace_s: float) -> None:
    """And their hook a second; so also where the manifest leaves none."""
    runtime = FakeContainers()
    lifecycle = {"preStop": {"sleep": {"seconds": 1}}}
    await _start("192.0.2.1", runtime=runtime, grace=grace, policy="Never", lifecycle=lifecycle)

    (spec,) = runtime.specs
    assert (spec.stop_grace_s, spec.pre_stop_s) == (stop_grace_s, max(1.0, grace))


@pytest.mark.parametrize(("grace", "stop_grace_s"), [(0, 2.0), (1, 2.0), (30, 30.0)])
async def test_a_server_has_its_pods_grace_at_a_shutdown(grace: int, stop_grace_s: float) -> None:
    """And two seconds at least, as on a kubelet; also where that is 0."""
    runtime = FakeContainers()
    wagi = {"wasm-node.dev/http": "wagi"}
    ports = [{"containerPort": 80}]
    await _start("192.0.2.1", runtime=runtime, annotations=wagi, grace=grace, ports=ports)

    (spec,) = runtime.specs
    assert spec.http is not None
    assert spec.stop_grace_s == stop_grace_s
