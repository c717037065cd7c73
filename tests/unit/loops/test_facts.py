"""What a list of the runtime says of what is not on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes import clock as clocks
from tests.fakes import containers
from wasm_node.agent.loops import facts, presence
from wasm_node.agent.model import ids, observed
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import records

_KNOWN, _OTHER = ids.PodUid("known"), ids.PodUid("other")


def _running(pod: ids.PodUid) -> observed.Running:
    return observed.Running(records.AttemptId(pod, "main", 0), pid=7, started_at=1.0)


class Lists(containers.FakeContainers):
    """A Containers that says what the test puts in its queue."""

    def __init__(self) -> None:
        super().__init__()
        self.news: asyncio.Queue[observed.News] = asyncio.Queue()

    async def facts(self) -> AsyncIterator[observed.News]:
        """Yield what was put in."""
        while True:
            yield await self.news.get()
            self.news.task_done()


class Checkpoints(checkpoint.Checkpoints):
    """Real ones, in whose reading something else happens."""

    def __init__(self, directory: Path, seen: pods.ObservedStore) -> None:
        super().__init__(directory)
        self._seen = seen
        self._loop = asyncio.get_running_loop()

    def load(self, uid: ids.PodUid) -> observed.ObservedPod | None:
        """Read, while a start of another pod is answered on the loop."""

        async def answered() -> None:
            self._seen.change(_KNOWN, "main", lambda was: adopt.started(was, _running(_KNOWN)))

        asyncio.run_coroutine_threadsafe(answered(), self._loop).result()
        return super().load(uid)


class Bed:
    """A follower at work, and a pod that it knows."""

    def __init__(self, state: Path) -> None:
        self.lists = Lists()
        self.seen = pods.ObservedStore()
        self.seen.put(_KNOWN, observed.ObservedPod(started_at=1.0))
        clock = clocks.FakeClock()
        kept = Checkpoints(state, self.seen)
        runtime = presence.Presence(clock)
        self.kept = checkpoint.Checkpoints(state)
        self.work = facts.follow(self.lists, self.seen, kept, clock, runtime)

    async def hear(self, *news: observed.News) -> None:
        """Have it take these in."""
        for each in news:
            self.lists.news.put_nowait(each)
        await self.lists.news.join()

    def current(self, pod: ids.PodUid) -> observed.Fact | None:
        """Return what is known of the pod's container."""
        seen = self.seen.get(pod)
        return seen.container("main").current if seen else None


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    """Give one at work."""
    made = Bed(tmp_path)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.work)
        yield made
        running.cancel()


async def test_what_runs_and_is_not_listed_has_ended(bed: Bed) -> None:
    """It ended without a witness: unknown, 137, as a kubelet would say."""
    await bed.hear(_running(_KNOWN), [])

    ended = bed.current(_KNOWN)
    assert isinstance(ended, observed.Ended)
    assert (ended.exit.code, ended.exit.reason) == (137, "ContainerStatusUnknown")


async def test_a_start_answered_after_the_list_is_not_missing(bed: Bed) -> None:
    """A list speaks of its own time, however long its files take to read."""
    await bed.hear([_running(_OTHER)])

    assert bed.current(_KNOWN) == _running(_KNOWN)
    assert bed.current(_OTHER) == _running(_OTHER)


async def test_what_was_kept_of_pods_that_never_ran(bed: Bed) -> None:
    """One that was told to go is known as that before anything is begun."""
    why = observed.Evicted("why", 1.0, 7.0, "Preempting", "for a critical pod")
    told, listed = observed.ObservedPod(3.0, evicted=why), observed.ObservedPod(4.0, evicted=why)
    for uid, known in ((ids.PodUid("never-ran"), told), (_OTHER, listed)):
        ref = ids.PodRef("default", "p", uid)
        await asyncio.to_thread(bed.kept.change, ref, known, lambda kept: kept)
    await bed.hear([_running(_OTHER)])
    first = bed.seen.get(ids.PodUid("never-ran"))
    other = bed.seen.get(_OTHER)
    bed.seen.drop(ids.PodUid("never-ran"))
    await bed.hear([_running(_OTHER)])

    assert first == told
    assert other is not None
    assert (other.started_at, other.evicted) == (4.0, why)
    assert bed.current(_OTHER) == _running(_OTHER)
    assert bed.seen.get(ids.PodUid("never-ran")) is None  # it is being removed
