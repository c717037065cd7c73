"""
The two nodes: a wasm node, and kwok, which writes statuses and runs nothing.

What is measured is the same code for both; here is all that differs: the pod
that idles there, the processes that are the node, and how a pod proves that it
really ran.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from e2e import images, pods, watching
from e2e.cluster import ControlPlane, Guard, Kwok, Registry, WasmNode, guardian
from tests.wasm import guests

_FOR_EVER_MS = 10**8


@dataclasses.dataclass(frozen=True)
class Node:
    """
    One of the two nodes.

    Attributes:
        name: of the Node.
        spec: of a pod that idles there.
        agent: the pid that talks to the API server.
        runtime: the pid above those that run pods; None: nothing runs.
        proves: whether this pod really ran, from outside the API.
    """

    name: str
    spec: Mapping[str, Any]
    agent: int
    runtime: int | None
    proves: Callable[[watching.Pod], bool]

    def pids(self) -> list[int]:
        """List the node's processes."""
        roots = [each for each in (self.agent, self.runtime) if each is not None]
        return [pid for root in roots for pid in (root, *guardian.descendants(root))]


def wasm(guard: Guard, plane: ControlPlane, directory: Path) -> Node:
    """Start a wasm node; its pod says its own UID once, then sleeps."""
    registry = Registry.start(guard, directory / "registry")
    node = WasmNode.start(guard, directory / "wasm", plane)
    guest = images.push_artifact(registry.address, "bench/idle", guests.path("count").read_bytes())
    spec = pods.spec(
        guest.reference, _FOR_EVER_MS, 0, "$(UID)",
        restart="Always", imagePullPolicy="IfNotPresent", env=pods.field_env(UID="metadata.uid"),
    )  # fmt: skip

    def proves(pod: watching.Pod) -> bool:
        meta = pod["metadata"]
        log = node.logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / "main" / "0.log"
        return log.exists() and f"n 0 {meta['uid']}" in log.read_text()

    return Node(node.name, spec, node.agent.pid, node.runtime.pid, proves)


def kwok(guard: Guard, plane: ControlPlane, directory: Path) -> Node:
    """Start kwok; its pod is a name, and proves nothing."""
    started = Kwok.start(guard, directory / "kwok", plane, "kwok-0")
    taint = {"key": "kwok.x-k8s.io/node", "operator": "Exists"}
    spec = {"tolerations": [taint], "containers": [{"name": "main", "image": "none"}]}
    return Node(started.node, spec, started.process.pid, None, lambda _: True)
