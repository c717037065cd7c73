"""
What the number of pods on a node costs one that comes: CPU, no cluster needed.

The admitter, the stores and the plans are the agent's own, over a Node in
memory. Figures are of one pod; what shows that their number costs nothing is
the ratio of two of them.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from e2e.bench import document
from tests.fakes import cluster
from wasm_node.agent.asynckit import clock
from wasm_node.agent.loops import admitting, expelling
from wasm_node.agent.model import desired, environment, observed, parsing
from wasm_node.agent.plan import preemption
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import records

_FEW, _MANY = 200, 2000
_ROUNDS = 5
_ROOM = environment.Allocatable(cpu_millis=10**9, memory_bytes=2**50, pods=10**6)


def main() -> None:
    """Measure, print the table, and write it into the document."""
    about = f"{document.today()}, {_ROUNDS} alternating rounds; {document.machine()}."
    rounds = [dict(_round()) for _ in range(_ROUNDS)]
    found = {what: [each[what] for each in rounds] for what in rounds[0]}
    lines = [
        f"| {what} | {statistics.median(each):.0f} ({min(each):.0f}-{max(each):.0f}) |"
        for what, each in found.items()
    ]
    text = "\n".join([about, "", "| | CPU, us: median (min-max) |", "|---|---|", *lines])
    print(text)
    document.write("crowds", text)


def _round() -> Iterator[tuple[str, float]]:
    for many in (_FEW, _MANY):
        yield f"one pod of a burst of {many} is admitted", asyncio.run(_burst(many))
    alike = [_pod(number, 10, 10) for number in range(_MANY)]
    other = [_pod(number, 1 + 7 * number % 1999, 1 + 11 * number % 1997) for number in range(_MANY)]
    for what, others in (("alike", alike), ("all different", other)):
        yield from _preempted(f"{_MANY} pods that are {what}", others)


async def _burst(many: int) -> float:
    """Return the CPU microseconds of each pod of so many that come at once."""
    wanted, seen = pods.DesiredStore(), pods.ObservedStore()
    node = cluster.FakeNode.standing()
    await node.get()
    with tempfile.TemporaryDirectory() as directory:
        kept = checkpoint.Checkpoints(Path(directory))
        admitter = admitting.Admitter(
            wanted,
            seen,
            node,
            lambda: _ROOM,
            frozenset,
            lambda: False,
            expelling.Expeller(wanted, seen, kept, cluster.FakeEvents()),
            clock.SystemClock(),
        )
        coming = [_pod(number, 1, 1) for number in range(many)]
        began = time.process_time()
        for each in coming:
            wanted.put(each)
            if await admitter.take_in(each):
                raise RuntimeError(f"{each.ref} was not admitted")
    return _us_since(began) / many


def _preempted(what: str, others: Sequence[desired.DesiredPod]) -> Iterator[tuple[str, float]]:
    """Tell what it takes to make half of their room."""
    lacking: Mapping[str, int] = {
        preemption.PODS: len(others) // 2,
        preemption.CPU: sum(each.asks.cpu_millis for each in others) // 2,
        preemption.MEMORY: sum(each.asks.memory_bytes for each in others) // 2,
    }
    began = time.process_time()
    need = preemption.need(_pod(-1, 0, 0, records.CRITICAL_PRIORITY), others, lacking, ())
    yield f"of {what}: whether half of them make room for a critical one", _us_since(began)
    if isinstance(need, observed.Rejected):
        raise RuntimeError(need.message)
    began = time.process_time()
    preemption.choose(need)
    yield f"of {what}: which half, beside the event loop", _us_since(began)


def _us_since(began: float) -> float:
    return 1e6 * (time.process_time() - began)


def _pod(number: int, cpu_millis: int, mib: int, priority: int = 0) -> desired.DesiredPod:
    asked = {"cpu": f"{cpu_millis}m", "memory": f"{mib}Mi"}
    container = {"name": "main", "image": "x", "resources": {"requests": asked}}
    return parsing.pod(
        {
            "metadata": {"name": f"p{number}", "uid": f"u{number}"},
            "spec": {"containers": [container], "priority": priority},
        }
    )


if __name__ == "__main__":
    main()
