"""
One round of one node: pods at a pace, then a burst, seen from outside.

Times are those of a watcher of the API with a connection of its own: bound is
when it sees `spec.nodeName`, running when it sees the phase. Writes are the
API server's own count. A round leaves nothing behind for the next.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping

from e2e import watching
from e2e.bench import figures, nodes
from e2e.cluster import ControlPlane, wait_until

PACED = 20
BURST = 200
_CREATORS = 4
_WITHIN_S = 120.0


@dataclasses.dataclass(frozen=True)
class Round:
    """
    The figures of one node in one round.

    Attributes:
        latencies_s: bind to Running of each paced pod.
        pods_per_s: of the burst, first request to last pod seen running.
        status_writes: per pod of the burst.
        event_writes: per pod of the burst, the scheduler's own not counted.
        machine_ms: CPU time of everything on the machine, per pod, while the
            burst lasted.
        node_ms: of that of the node's processes; with the events, which may
            be written later.
        agent_ms: of that of the process that talks to the API server.
        pss_kib: memory that a pod of the burst adds to the node.
    """

    latencies_s: tuple[float, ...]
    pods_per_s: float
    status_writes: float
    event_writes: float
    machine_ms: float
    node_ms: float
    agent_ms: float
    pss_kib: float


class Bench:
    """The cluster, and the measuring of one node on it."""

    def __init__(self, plane: ControlPlane, watcher: watching.PodWatcher) -> None:
        self._plane = plane
        self._watcher = watcher
        self._rounds = 0

    def measure(self, node: nodes.Node) -> Round:
        """Take all figures of one node once; its pods are gone afterwards."""
        self._rounds += 1
        namespace = f"bench-{self._rounds}"
        self._plane.kubectl("create", "namespace", namespace)
        latencies = self._paced(node, namespace)
        self._clear(namespace)
        pss = figures.pss_kib(node.pids())
        statuses, events = self._settled_writes()
        node_s, agent_s = figures.cpu_s(node.pids()), figures.cpu_s([node.agent])
        machine_s = figures.machine_cpu_s()
        pods_per_s = self._burst(node, namespace)
        machine_s = figures.machine_cpu_s() - machine_s
        pss = figures.pss_kib(node.pids()) - pss
        statuses_after, events_after = self._settled_writes()
        node_s = figures.cpu_s(node.pids()) - node_s
        agent_s = figures.cpu_s([node.agent]) - agent_s
        self._clear(namespace)
        return Round(
            latencies_s=tuple(latencies),
            pods_per_s=pods_per_s,
            status_writes=(statuses_after - statuses) / BURST,
            event_writes=(events_after - events) / BURST - 1,  # the scheduler's
            machine_ms=1000 * machine_s / BURST,
            node_ms=1000 * node_s / BURST,
            agent_ms=1000 * agent_s / BURST,
            pss_kib=pss / BURST,
        )

    def _paced(self, node: nodes.Node, namespace: str) -> list[float]:
        names = [f"paced-{number}" for number in range(PACED)]
        began = time.monotonic()
        for number, name in enumerate(names):
            time.sleep(max(0.0, began + number - time.monotonic()))  # the pace: 1 pod/s
            self._create(node, namespace, name)
        return [self._latency(node, namespace, name) for name in names]

    def _latency(self, node: nodes.Node, namespace: str, name: str) -> float:
        bound = self._wait(namespace, name, lambda seen: seen.pod["spec"].get("nodeName"))
        return self._running(node, namespace, name).at - bound.at

    def _burst(self, node: nodes.Node, namespace: str) -> float:
        names = [f"burst-{number}" for number in range(BURST)]

        def create(mine: list[str]) -> None:
            for name in mine:
                self._create(node, namespace, name)

        threads = [
            threading.Thread(target=create, args=(names[each::_CREATORS],))
            for each in range(_CREATORS)
        ]
        began = time.monotonic()
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        last = max(self._running(node, namespace, name).at for name in names)
        return BURST / (last - began)

    def _create(self, node: nodes.Node, namespace: str, name: str) -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": node.name},
                "automountServiceAccountToken": False,
                **node.spec,
            },
        }
        self._plane.admin.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)

    def _running(self, node: nodes.Node, namespace: str, name: str) -> watching.Seen:
        seen = self._wait(
            namespace, name, lambda seen: seen.pod["status"].get("phase") == "Running"
        )
        wait_until(lambda: node.proves(seen.pod), f"that {name} ran", within_s=_WITHIN_S)
        return seen

    def _wait(
        self, namespace: str, name: str, condition: Callable[[watching.Seen], object]
    ) -> watching.Seen:
        return self._watcher.wait(namespace, name, "its next step", condition, within_s=_WITHIN_S)

    def _clear(self, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods"
        self._plane.admin.call("DELETE", path, {"gracePeriodSeconds": 1})
        wait_until(
            lambda: not self._plane.admin.get(path)["items"],
            f"the end of the pods of {namespace}",
            within_s=_WITHIN_S,
        )

    def _settled_writes(self) -> tuple[int, int]:
        """Return how many statuses and events were written, at rest."""
        before = None
        while (now := self._writes()) != before:
            before = now
            time.sleep(1.0)
        return now["status"], now["events"]

    def _writes(self) -> Mapping[str, int]:
        """Count successful writes of pod statuses and events so far."""
        text = self._plane.kubectl("get", "--raw", "/metrics")
        counts = {"status": 0, "events": 0}
        for line in text.splitlines():
            if not line.startswith("apiserver_request_total{") or 'code="2' not in line:
                continue
            if not any(f'verb="{verb}"' in line for verb in ("POST", "PUT", "PATCH")):
                continue
            if 'resource="pods"' in line and 'subresource="status"' in line:
                counts["status"] += int(float(line.split()[-1]))
            elif 'resource="events"' in line:
                counts["events"] += int(float(line.split()[-1]))
        return counts
