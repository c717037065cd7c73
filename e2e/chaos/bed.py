"""
The bed of a chaos run: a wasm node behind a proxy, and its witnesses.

It stands on a control plane that other tests may use: its node is its own, and
so is the namespace of its pods. Its runtime may be given a wrapper that has a
fault put in on purpose, to see that the audit tells.
"""

import contextlib
import dataclasses
import functools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from e2e.chaos import apirecord, background, ledger, machine, proxy, recording
from e2e.cluster import ControlPlane, Guard, WasmNode, api, wait_until
from e2e.cluster.controlplane import NodeCredentials
from wasm_node.protocol import settings

_FAULTY = Path(__file__).parent / "faulty.py"
_GRACE_S = 10.0


class ChaosNode(WasmNode):
    """A wasm node whose agent reaches the API server by way of a proxy."""

    server = ""
    build = ""
    """The fault that its runtime is built with; see `faulty`."""

    @classmethod
    def behind(
        cls, guard: Guard, directory: Path, plane: ControlPlane, name: str, server: str, build: str
    ) -> Self:
        """Start one in a new directory; return when it is Ready."""
        directory.mkdir(parents=True)
        made = cls(name, directory, directory / "state", directory / "logs", guard, plane)
        made.server, made.build = server, build
        made._configure()
        made.start_runtime()
        made.start_agent()
        made.wait_ready()
        return made

    def _configure(self) -> None:
        super()._configure()
        file = self.directory / "agent.yaml"
        told = json.loads(file.read_text())
        kubeconfig = Path(told["kubeconfig"])
        config = json.loads(kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = self.server
        kubeconfig.write_text(json.dumps(config))
        file.write_text(json.dumps(told | {"maxContainerRestartPeriod": 1}))

    def start_runtime(self) -> None:
        """Start the runtime, as it was built; return at once."""
        if not self.build:
            super().start_runtime()
            return
        told = settings.RuntimeSettings(self.state, self.directory / "run", self.logs)
        self.runtime = self._guard.spawn(
            f"{self.name}-runtime",
            [sys.executable, "-P", _FAULTY, self.build, told.to_json()],
            directory=self.directory,
            grace_s=_GRACE_S,
        )


@dataclasses.dataclass(frozen=True)
class ChaosBed:
    """
    A node that may be done any wrong, and who looks on.

    Attributes:
        untouched: the node's machine before its first pod.
    """

    plane: ControlPlane
    node: ChaosNode
    namespace: str
    proxy: proxy.Proxy
    ledger: ledger.Ledger
    record: apirecord.ApiRecord
    beside: background.Background
    untouched: recording.Machine

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API server for something below `/api/v1/namespaces/NAME`."""
        return self.plane.admin.call(method, f"/api/v1/namespaces/{self.namespace}/{path}", body)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Have kubectl make objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.plane.kubectl(
            f"--namespace={self.namespace}", "apply", "-f", "-", stdin=json.dumps(listed)
        )


@contextlib.contextmanager
def standing(
    guard: Guard, plane: ControlPlane, directory: Path, name: str, *, seed: int = 0, build: str = ""
) -> Iterator[ChaosBed]:
    """Give a bed that stands; nothing of it is left afterwards."""
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(background.running())
        told = stack.enter_context(ledger.running(beside))
        credentials: NodeCredentials = plane.node_credentials(f"{name}-proxy", ["127.0.0.1"])
        identity = dataclasses.replace(
            credentials, client=plane.node_credentials(name, ["127.0.0.1"]).client
        )
        chance = random.Random(seed)  # noqa: S311  # a seed is what it is about
        between = stack.enter_context(
            proxy.running(beside, plane, identity, guard.claim_port(), chance)
        )
        namespace = f"{name}-pods"
        plane.kubectl("create", "namespace", namespace)
        stack.callback(plane.kubectl, "delete", "namespace", namespace, "--wait=false")
        record = stack.enter_context(apirecord.ApiRecord(plane, namespace))
        node = ChaosNode.behind(guard, directory, plane, name, between.server, build)
        stack.callback(_end, plane, node, namespace)
        _wait_for_account(plane, namespace)
        untouched = machine.look(node)
        yield ChaosBed(plane, node, namespace, between, told, record, beside, untouched)


def _wait_for_account(plane: ControlPlane, namespace: str) -> None:
    def has_account() -> bool:
        with contextlib.suppress(api.Refused):
            return bool(plane.admin.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))
        return False

    wait_until(has_account, f"the service account of {namespace}", within_s=90)


def _end(plane: ControlPlane, node: ChaosNode, namespace: str) -> None:
    words = ("--all", f"--namespace={namespace}", "--force", "--grace-period=0", "--wait=false")
    plane.kubectl("delete", "deployments,statefulsets,jobs", *words)
    plane.kubectl("delete", "pods", *words)
    node.agent.kill()
    node.runtime.kill()  # a build with a fault may not end by itself
    for each in reversed(machine.groups(node)):
        wait_until(functools.partial(_is_removed, each), f"no {each}", within_s=5)
    plane.kubectl("delete", "node", node.name)


def _is_removed(group: Path) -> bool:
    with contextlib.suppress(OSError):  # what was in it is not dead yet
        group.rmdir()
    return not group.exists()
