"""
`make bench`: a wasm node side by side with kwok on one control plane.

kwok writes statuses and runs nothing: its figures are what the control plane
allows, so each of ours is a ratio to it, taken in the same run. Rounds
alternate between the two; what a row says of a pod is what a separate watcher
of the API saw, and a wasm pod counts only if its log holds its own UID.
"""

import argparse
import dataclasses
import datetime as dt
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from e2e import images, pods, watching
from e2e.cluster import ControlPlane, Guard, Kwok, Registry, WasmNode, guardian, wait_until
from tests.wasm import guests

_DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"
_PACED = 10
_BURST = 200
_CREATORS = 4
_WITHIN_S = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Node:
    """
    One of the two nodes.

    Attributes:
        name: of the Node.
        spec: of a pod that idles there; `args` and all.
        roots: pids whose descendants, and they, are the node.
        agent: the pid that talks to the API server.
        proves: whether this pod really ran, from outside the API.
    """

    name: str
    spec: Mapping[str, Any]
    roots: Callable[[], Iterable[int]]
    agent: Callable[[], Iterable[int]]
    proves: Callable[[watching.Pod], bool]

    def pids(self) -> list[int]:
        """List the node's processes."""
        return [pid for root in self.roots() for pid in (root, *guardian.descendants(root))]


@dataclasses.dataclass
class Round:
    """The figures of one node in one round."""

    latencies_s: list[float]
    pods_per_s: float
    status_writes: float
    event_writes: float
    cpu_ms: float
    agent_ms: float
    pss_kib: float


class Bench:
    """The cluster, and the measuring of one node on it."""

    def __init__(self, plane: ControlPlane, watcher: watching.PodWatcher) -> None:
        self._plane = plane
        self._watcher = watcher
        self._rounds = 0

    def measure(self, node: Node) -> Round:
        """Take all figures of one node once; its pods are gone afterwards."""
        self._rounds += 1
        namespace = f"bench-{self._rounds}"
        self._plane.kubectl("create", "namespace", namespace)
        pss_before = _pss_kib(node.pids())
        latencies = self._paced(node, namespace)
        self._clear(namespace)
        writes_before, cpu_before = self._writes(), _cpu_s(node.pids())
        agent_before = _cpu_s(node.agent())
        pods_per_s = self._burst(node, namespace)
        pss_after = _pss_kib(node.pids())
        events = self._settled_events()
        cpu_ms = 1000 * (_cpu_s(node.pids()) - cpu_before) / _BURST
        agent_ms = 1000 * (_cpu_s(node.agent()) - agent_before) / _BURST
        made = Round(
            latencies_s=latencies,
            pods_per_s=pods_per_s,
            status_writes=(self._writes()["status"] - writes_before["status"]) / _BURST,
            event_writes=(events - writes_before["events"]) / _BURST - 1,  # the scheduler's
            cpu_ms=cpu_ms,
            agent_ms=agent_ms,
            pss_kib=(pss_after - pss_before) / _BURST,
        )
        self._clear(namespace)
        return made

    def _paced(self, node: Node, namespace: str) -> list[float]:
        names = [f"paced-{number}" for number in range(_PACED)]
        began = time.monotonic()
        for number, name in enumerate(names):
            time.sleep(max(0.0, began + number - time.monotonic()))  # the pace: 1 pod/s
            self._create(node, namespace, name)
        return [self._latency(node, namespace, name) for name in names]

    def _latency(self, node: Node, namespace: str, name: str) -> float:
        bound = self._wait(namespace, name, lambda seen: seen.pod["spec"].get("nodeName"))
        return self._running(node, namespace, name).at - bound.at

    def _burst(self, node: Node, namespace: str) -> float:
        names = [f"burst-{number}" for number in range(_BURST)]
        began = time.monotonic()
        threads = [
            threading.Thread(
                target=self._create_all, args=(node, namespace, names[each::_CREATORS])
            )
            for each in range(_CREATORS)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        last = max(self._running(node, namespace, name).at for name in names)
        return _BURST / (last - began)

    def _create_all(self, node: Node, namespace: str, names: list[str]) -> None:
        for name in names:
            self._create(node, namespace, name)

    def _create(self, node: Node, namespace: str, name: str) -> None:
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

    def _running(self, node: Node, namespace: str, name: str) -> watching.Seen:
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

    def _writes(self) -> Mapping[str, int]:
        """Count successful writes of pod statuses and events so far."""
        text = self._plane.kubectl("get", "--raw", "/metrics")
        counts = {"status": 0, "events": 0}
        for line in text.splitlines():
            if not line.startswith("apiserver_request_total{") or 'code="2' not in line:
                continue
            if 'resource="pods"' in line and 'subresource="status"' in line:
                counts["status"] += _is_write(line) and int(float(line.split()[-1]))
            elif 'resource="events"' in line:
                counts["events"] += _is_write(line) and int(float(line.split()[-1]))
        return counts

    def _settled_events(self) -> int:
        """Return the count of events once no more of them come."""
        before = -1
        while (now := self._writes()["events"]) != before:
            before = now
            time.sleep(1.0)
        return now


def _is_write(line: str) -> bool:
    return any(f'verb="{verb}"' in line for verb in ("POST", "PUT", "PATCH"))


def _pss_kib(pids: Iterable[int]) -> int:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def _cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of processes, with those of children that they reaped."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(each) for each in fields[11:15])
    return ticks / _TICKS


def _wasm(guard: Guard, plane: ControlPlane, directory: Path) -> Node:
    registry = Registry.start(guard, directory / "registry")
    node = WasmNode.start(guard, directory / "wasm", plane)
    guest = images.push_artifact(registry.address, "bench/idle", guests.path("count").read_bytes())
    spec = pods.spec(
        guest.reference, 10**8, 0, "$(UID)",
        restart="Always", imagePullPolicy="IfNotPresent", env=pods.field_env(UID="metadata.uid"),
    )  # fmt: skip

    def proves(pod: watching.Pod) -> bool:
        meta = pod["metadata"]
        log = node.logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / "main" / "0.log"
        return log.exists() and f"n 0 {meta['uid']}" in log.read_text()

    return Node(
        node.name,
        spec,
        lambda: [node.runtime.pid, node.agent.pid],
        lambda: [node.agent.pid],
        proves,
    )


def _kwok(guard: Guard, plane: ControlPlane, directory: Path) -> Node:
    kwok = Kwok.start(guard, directory / "kwok", plane, "kwok-0")
    taint = {"key": "kwok.x-k8s.io/node", "operator": "Exists"}
    spec = {"tolerations": [taint], "containers": [{"name": "main", "image": "none"}]}
    return Node(
        kwok.node, spec, lambda: [kwok.process.pid], lambda: [kwok.process.pid], lambda _: True
    )


def _table(found: Mapping[str, list[Round]]) -> str:
    def row(what: str, of: Callable[[Round], float], digits: int, *, ratio: bool = True) -> str:
        cells, medians = [], []
        for name in ("kwok", "wasm-node"):
            values = [of(each) for each in found[name]]
            medians.append(statistics.median(values))
            spread = f"{min(values):.{digits}f}-{max(values):.{digits}f}"
            cells.append(f"{medians[-1]:.{digits}f} ({spread})")
        compared = f"{medians[1] / medians[0]:.2f}" if ratio and medians[0] else "-"
        return f"| {what} | {' | '.join(cells)} | {compared} |"

    def percentile(percent: int) -> Callable[[Round], float]:
        return lambda each: 1000 * statistics.quantiles(each.latencies_s, n=100)[percent - 1]

    return "\n".join(
        [
            "| | kwok: median (min-max) | wasm-node: median (min-max) | ratio |",
            "|---|---|---|---|",
            row("bind to Running at 1 pod/s, p50, ms", percentile(50), 0),
            row("the same, p99, ms", percentile(99), 0),
            row(f"burst of {_BURST}, pods/s", lambda each: each.pods_per_s, 1),
            row("status writes per pod", lambda each: each.status_writes, 2),
            row("events per pod", lambda each: each.event_writes, 2, ratio=False),
            row("CPU of the node per pod of the burst, ms", lambda each: each.cpu_ms, 1),
            row("of that, the agent (kwok: all)", lambda each: each.agent_ms, 1),
            row("memory per idle pod, PSS, KiB", lambda each: each.pss_kib, 0, ratio=False),
        ]
    )


def main() -> None:
    """Measure, print the table, and write it into the document."""
    parser = argparse.ArgumentParser(prog="e2e.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[str, list[Round]] = {"kwok": [], "wasm-node": []}
    with tempfile.TemporaryDirectory() as root, Guard.start() as guard:
        plane = ControlPlane.start(guard, Path(root) / "plane", scheduler_qps=1000)
        nodes = {
            "kwok": _kwok(guard, plane, Path(root)),
            "wasm-node": _wasm(guard, plane, Path(root)),
        }
        with watching.PodWatcher(plane) as watcher:
            bench = Bench(plane, watcher)
            bench.measure(nodes["wasm-node"])  # warms what is made once: image, code, caches
            for number in range(rounds):
                for name, node in nodes.items():
                    print(f"round {number + 1} of {rounds}: {name}", flush=True)
                    found[name].append(bench.measure(node))
    table = _table(found)
    print(table)
    today = dt.datetime.now(dt.UTC).date().isoformat()
    text = _DOCUMENT.read_text()
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    said = f"{today}, {os.cpu_count()} cores, {rounds} alternating rounds, `make bench`:"
    _DOCUMENT.write_text(f"{before}{_BEGIN}\n{said}\n\n{table}\n{_END}{after}")


if __name__ == "__main__":
    main()
