"""
`make bench-thousands`: as many HTTP pods as a node has, idle and Ready.

They are the pods of many Deployments, made through a real API server. Each pod
of a Deployment accepts from the one listener of its owner, so what is asked is
a random sample of the ports, and an answer counts only if it names a pod of
that Deployment. Memory is what the pods add to the node's processes; CPU is of
the same processes, over a time in which nobody asks for anything.
"""

import argparse
import collections
import dataclasses
import random
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e import images, namespaces, pods, watching
from e2e.bench import document, figures
from e2e.cluster import ControlPlane, Guard, Registry, WasmNode, guardian, wait_until
from tests.component.http import programs

_REPLICAS = 50
_SAMPLE = 200
_REST_S = 30.0
_QUIET_S = 60.0
_PER_POD_S = 0.5


@dataclasses.dataclass(frozen=True)
class Figures:
    """
    What so many pods cost.

    Attributes:
        pods: how many.
        ready_s: from the first request to make them until all are Ready.
        pss_kib: what each adds to the node's processes.
        tasks: processes and threads of the node for each.
        files: descriptors of the process of the node that holds the most.
        cpu_idle_ms: what each costs of CPU in a second of rest.
        agent_idle_ms: the same of the agent alone.
        gone_s: from the request to delete them until none is left.
        answered_ms: the longest that one of the sample took to answer.
    """

    pods: int
    ready_s: float
    pss_kib: float
    tasks: float
    files: int
    cpu_idle_ms: float
    agent_idle_ms: float
    gone_s: float
    answered_ms: float


def measure(guard: Guard, directory: Path, wanted: int, *, rest_s: float = _REST_S) -> Figures:
    """
    Put up that many pods, rounded to whole Deployments, and take them down.

    Raises:
        Failed: they were not Ready in time, or some of the node was left.
        AssertionError: an answer was not of one of the asked pods.
    """
    plane = ControlPlane.start(guard, directory / "plane", scheduler_qps=1000)
    registry = Registry.start(guard, directory / "registry")
    node = WasmNode.start(guard, directory / "node", plane)
    program = programs.component().read_bytes()
    image = images.push_artifact(registry.address, "bench/web", program, layout="B").reference
    ports = [guard.claim_port() for _ in range(max(1, wanted // _REPLICAS))]
    count, within_s = len(ports) * _REPLICAS, 60 + len(ports) * _REPLICAS * _PER_POD_S
    with (
        watching.PodWatcher(plane) as watcher,
        namespaces.Bed(plane, node, watcher).namespace() as namespace,
    ):
        namespace.apply(_deployment(image, guard.claim_port(), 1, "warm"))
        wait_until(lambda: _ready(namespace) == 1, "one to be Ready", within_s=60)
        empty_kib, empty_tasks = figures.pss_kib(_pids(node)), _tasks(node)
        began = time.monotonic()
        namespace.apply(*(_deployment(image, each, _REPLICAS, f"web-{each}") for each in ports))
        wait_until(lambda: _ready(namespace) == count + 1, f"{count} Ready", within_s=within_s)
        ready_s = time.monotonic() - began
        _until_quiet(node)
        added_kib = figures.pss_kib(_pids(node)) - empty_kib
        tasks = _tasks(node) - empty_tasks
        files = max(map(_files, _pids(node)))
        idle, of_agent = _cpu(_pids, node, rest_s), _cpu(_agent, node, rest_s)
        slowest_s = _ask(namespace, ports)
        began = time.monotonic()
        namespace.kubectl("delete", "deployments", "--all", "--wait=false")
        wait_until(lambda: not node.processes("wasm:"), "an end of all", within_s=within_s)
        gone = f"/api/v1/namespaces/{namespace.name}/pods?limit=1"
        wait_until(lambda: not plane.admin.get(gone)["items"], "no pod", within_s=within_s)
        gone_s = time.monotonic() - began
    return Figures(
        pods=count,
        ready_s=ready_s,
        pss_kib=added_kib / count,
        tasks=tasks / count,
        files=files,
        cpu_idle_ms=idle * 1000 / count,
        agent_idle_ms=of_agent * 1000 / count,
        gone_s=gone_s,
        answered_ms=slowest_s * 1000,
    )


def _deployment(image: str, port: int, replicas: int, name: str) -> dict[str, Any]:
    spec = pods.spec(
        image,
        restart="Always",
        ports=[{"name": "http", "containerPort": port}],
        env=pods.field_env(UID="metadata.uid"),
        imagePullPolicy="IfNotPresent",
    )
    return pods.workload("Deployment", name, spec, replicas=replicas)


def _ready(namespace: namespaces.Namespace) -> int:
    path = f"/apis/apps/v1/namespaces/{namespace.name}/deployments"
    listed = namespace.bed.plane.admin.get(path)["items"]
    return sum(each["status"].get("readyReplicas", 0) for each in listed)


def _pids(node: WasmNode) -> list[int]:
    return [*_agent(node), node.runtime.pid, *guardian.descendants(node.runtime.pid)]


def _agent(node: WasmNode) -> list[int]:
    return [node.agent.pid, *guardian.descendants(node.agent.pid)]


def _tasks(node: WasmNode) -> int:
    found = (Path(f"/proc/{pid}/task") for pid in _pids(node))
    return sum(len(list(each.iterdir())) for each in found if each.exists())


def _files(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except FileNotFoundError:  # it has ended
        return 0


def _cpu(of: Callable[[WasmNode], list[int]], node: WasmNode, over_s: float) -> float:
    """Return how many CPU seconds processes use in a second of rest."""
    before, began = figures.cpu_s(of(node)), time.monotonic()
    time.sleep(over_s)  # what is measured is rest
    return (figures.cpu_s(of(node)) - before) / (time.monotonic() - began)


def _until_quiet(node: WasmNode) -> None:
    """Return once the node has nothing left to write of all the starts."""
    wait_until(lambda: _cpu(_agent, node, 2.0) < 0.1, "a quiet agent", within_s=_QUIET_S)


def _ask(namespace: namespaces.Namespace, ports: list[int]) -> float:
    """Ask a random sample; return how many seconds the slowest answer took."""
    path = f"/api/v1/namespaces/{namespace.name}/pods"
    uids = collections.defaultdict(set)
    for pod in namespace.bed.plane.admin.get(path)["items"]:
        uids[pod["metadata"]["labels"]["app"]].add(pod["metadata"]["uid"])
    slowest = 0.0
    for port in random.choices(ports, k=_SAMPLE):  # noqa: S311  # no secret
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/env", timeout=10) as answer:
            said = answer.read().decode()
        slowest = max(slowest, time.monotonic() - began)
        (uid,) = (line[4:] for line in said.splitlines() if line.startswith("UID="))
        assert uid in uids[f"web-{port}"], said
    return slowest


def main() -> None:
    """Measure, print the table, and write it into the document."""
    parser = argparse.ArgumentParser(prog="e2e.bench.thousands", description=__doc__)
    parser.add_argument("--pods", type=int, default=3000)
    wanted = parser.parse_args().pods
    about = f"{document.today()}, `make bench-thousands`; {document.machine()} before it began."
    with tempfile.TemporaryDirectory() as root, Guard.start() as guard:
        found = measure(guard, Path(root), wanted)
    rows = [
        ("idle pods of HTTP components, all Ready", f"{found.pods}"),
        ("until all are Ready, s", f"{found.ready_s:.0f}"),
        ("memory that each adds, PSS, KiB", f"{found.pss_kib:.0f}"),
        ("tasks (processes and threads) of each", f"{found.tasks:.1f}"),
        ("descriptors of the process that holds the most", f"{found.files}"),
        ("CPU of the node at rest, millicores for 1,000 pods", f"{found.cpu_idle_ms * 1000:.0f}"),
        ("of that, the agent", f"{found.agent_idle_ms * 1000:.0f}"),
        (f"slowest of {_SAMPLE} answers, ms", f"{found.answered_ms:.0f}"),
        ("until all are gone, s", f"{found.gone_s:.0f}"),
    ]
    lines = [f"| {what} | {each} |" for what, each in rows]
    text = "\n".join([about, "", "| | |", "|---|---|", *lines])
    print(text)
    document.write("thousands", text)


if __name__ == "__main__":
    main()
