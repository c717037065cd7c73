"""Readiness to the workers that serve HTTP."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.fakes.workers import FakeWorkers
from wasm_node.agent.loops import accepting
from wasm_node.agent.model import ids, observed, parsing, probe
from wasm_node.agent.plan import adopt, probes
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

UID = ids.PodUid("u1")


def _attempt(number: int = 0) -> records.AttemptId:
    return records.AttemptId(UID, "main", number)


class Bed:
    """Stores with one pod; agents come and go over it."""

    def __init__(self, **fields: Any) -> None:
        self.wanted = pods.DesiredStore()
        self.seen = pods.ObservedStore()
        self.workers = FakeWorkers()
        container = {"name": "main", "image": "x"} | fields
        raw = {"metadata": {"name": "p", "uid": UID}, "spec": {"containers": [container]}}
        self.wanted.put(parsing.pod(raw))
        self.seen.put(UID, observed.ObservedPod(0.0))

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[None]:
        """Run the loop for the length of the context."""
        self.accepting = accepting.Accepting(self.wanted, self.seen, self.workers)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self.accepting.run())
            for pod in self.wanted:
                self.wanted.put(pod)
            yield
            running.cancel()

    def take(self, fact: observed.Fact) -> None:
        """Have a fact arrive."""
        self.seen.change(UID, "main", lambda seen: adopt.apply(seen, fact))

    def begin(self, number: int = 0) -> None:
        """Have an attempt run whose worker serves HTTP."""
        self.workers.accepting[_attempt(number)] = False
        self.take(observed.Running(_attempt(number), 7, 0.0))

    def judge(self, *, ready: bool, number: int = 0) -> None:
        """Have its readiness probe come to a verdict."""
        kind = probe.Kind.READINESS
        self.seen.change(
            UID, "main", lambda seen: probes.judged(seen, _attempt(number), kind, passing=ready)
        )

    def has_told(self, count: int) -> bool:
        """Say whether so much has been said."""
        return len(self.workers.told) == count

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once it holds."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)


PROBE = {"readinessProbe": {"tcpSocket": {"port": 80}}}


async def test_without_a_probe_it_accepts_once_it_runs() -> None:
    """Who has no readiness probe is ready when it has started."""
    bed = Bed()
    async with bed.agent():
        bed.begin()
        await bed.until(lambda: bed.workers.accepting[_attempt()])

    assert [(_attempt(), True)] == bed.workers.told


async def test_it_follows_readiness() -> None:
    """Each change is told, and what is no change is not."""
    bed = Bed(**PROBE)
    async with bed.agent():
        bed.begin()
        await bed.until(lambda: len(bed.workers.told) == 1)
        for count, ready in ((2, True), (2, True), (3, False), (4, True)):
            bed.judge(ready=ready)
            await bed.until(functools.partial(bed.has_told, count))

    assert [False, True, False, True] == [ready for _, ready in bed.workers.told]


async def test_one_that_could_not_be_told_is_told_again() -> None:
    """It is tried until it works, without another change."""
    bed = Bed()
    bed.workers.deaf.add(_attempt())
    async with bed.agent():
        bed.begin()
        await bed.until(lambda: bed.workers.told)
        bed.workers.deaf.clear()
        await bed.until(lambda: bed.workers.accepting[_attempt()])

    assert [(_attempt(), True)] * 2 == bed.workers.told


async def test_one_that_may_have_heard_is_told_again() -> None:
    """After a failure nobody knows; going back is said, too."""
    bed = Bed(**PROBE)
    async with bed.agent():
        bed.begin()
        bed.judge(ready=True)
        await bed.until(lambda: (_attempt(), True) in bed.workers.told)
        bed.workers.deaf.add(_attempt())
        bed.judge(ready=False)
        await bed.until(lambda: (_attempt(), False) in bed.workers.told)
        bed.workers.deaf.clear()
        bed.workers.told.clear()
        bed.judge(ready=True)
        await bed.until(lambda: (_attempt(), True) in bed.workers.told)


async def test_a_new_agent_says_it_again() -> None:
    """It cannot know what its predecessor has said."""
    bed = Bed(**PROBE)
    async with bed.agent():
        bed.begin()
        bed.judge(ready=True)
        await bed.until(lambda: bed.workers.accepting[_attempt()])
    bed.workers.accepting[_attempt()] = False
    async with bed.agent():
        await bed.until(lambda: bed.workers.accepting[_attempt()])


async def test_a_new_attempt_is_told_by_itself() -> None:
    """What was said to one is not taken for said to the next."""
    bed = Bed()
    async with bed.agent():
        bed.begin()
        await bed.until(lambda: bed.workers.accepting[_attempt()])
        record = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", 0, 1)
        bed.take(observed.Ended(_attempt(), record))
        bed.begin(1)
        await bed.until(lambda: bed.workers.accepting[_attempt(1)])
        await bed.until(lambda: "1 told" in repr(bed.accepting))
    assert [(_attempt(), True), (_attempt(1), True)] == bed.workers.told
