"""How an agent ends: one that stands by takes over before it does."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster
from wasm_node.agent import statedir
from wasm_node.agent.loops import leaving

OURS, THEIRS = "10.0.0.1", "10.0.0.2"


class Bed:
    """A Node at our address, and a state directory."""

    def __init__(self, root: Path) -> None:
        self.directory = statedir.StateDir(root / "state", root / "run", root / "logs")
        self.directory.make()
        self.clock = clocks.FakeClock()
        self.node = cluster.FakeNode.standing()
        self.tell(OURS)
        self.taken_over = False

    def tell(self, address: str) -> None:
        """Have the Node name an address."""
        assert self.node.node is not None
        self.node.node["status"] = {"addresses": [{"type": "InternalIP", "address": address}]}

    @contextlib.asynccontextmanager
    async def heir(self, address: str) -> AsyncIterator[None]:
        """Have another agent stand by."""

        async def succeed() -> None:
            async with self.directory.locked(standing.set, address=address):
                self.taken_over = True

        standing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(succeed())
            await standing.wait()
            yield
            task.cancel()

    async def live(self, task: "asyncio.Task[None]", seconds: float) -> float:
        """Let time pass until a task is done; return how much did."""
        began = self.clock.monotonic()
        while not task.done() and self.clock.monotonic() - began < seconds:
            await asyncio.sleep(0.001)  # it looks at files, in a thread
            if self.clock.sleepers:
                self.clock.advance(0.1)
        return self.clock.monotonic() - began

    async def hand_over(self, lock: statedir.Lock) -> None:
        """Leave."""
        await leaving.hand_over(lock, self.node, OURS, self.clock)

    @contextlib.asynccontextmanager
    async def handing_over(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Leave, with an heir elsewhere that has the directory by now."""
        async with (
            self.directory.locked(lambda: None) as lock,
            self.heir(THEIRS),
            asyncio.TaskGroup() as group,
        ):
            going = group.create_task(self.hand_over(lock))
            while not self.taken_over:
                await asyncio.sleep(0.001)
            yield going


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Give a bed where paths are short."""
    with tempfile.TemporaryDirectory() as root:
        yield Bed(Path(root))


async def test_who_has_no_heir_leaves_at_once(bed: Bed) -> None:
    """Also where somebody stood by once."""
    async with bed.directory.locked(lambda: None), bed.heir(THEIRS):
        pass
    async with bed.directory.locked(lambda: None) as lock:
        await bed.hand_over(lock)

    assert not bed.clock.sleepers


async def test_an_heir_of_our_port_has_to_wait(bed: Bed) -> None:
    """At the same address two could not serve."""
    async with bed.directory.locked(lambda: None) as lock, bed.heir(OURS):
        await bed.hand_over(lock)
        taken_over = bed.taken_over

    assert not taken_over


async def test_it_serves_until_the_node_names_the_heir(bed: Bed) -> None:
    """And for whoever has just read where the node was."""
    async with bed.handing_over() as going:
        await bed.clock.go_on(5)
        early = going.done()
        bed.node.answers = False
        await bed.clock.go_on(1)
        early |= going.done()
        bed.node.answers = True
        bed.tell(THEIRS)
        await bed.clock.go_on(1)
        early |= going.done()
        await bed.clock.go_on(leaving.LAST_REQUESTS_S)
        done = going.done()

    assert (early, done) == (False, True)


async def test_it_does_not_wait_for_ever(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """An heir may fail, too."""
    async with bed.handing_over() as going:
        await bed.clock.go_on(leaving.TAKEN_OVER_WITHIN_S)
        await bed.clock.go_on(1)
        done = going.done()

    assert done
    assert f"The agent at {THEIRS} has not taken over in 15 s" in caplog.text


async def test_an_heir_that_is_due_is_waited_for(bed: Bed) -> None:
    """Until it stands by; where none comes, for as long as was said."""
    async with bed.directory.locked(lambda: None) as lock, asyncio.TaskGroup() as group:
        coming = group.create_task(leaving.await_heir(lock, 10.0, bed.clock))
        await bed.live(coming, 5.0)
        early = coming.done()
        async with bed.heir(THEIRS):
            until_it_came_s = await bed.live(coming, 5.0)
        alone = group.create_task(leaving.await_heir(lock, 10.0, bed.clock))
        alone_s = await bed.live(alone, 20.0)
        nobody = group.create_task(leaving.await_heir(lock, 0.0, bed.clock))
        nobody_s = await bed.live(nobody, 20.0)

    assert not early
    assert until_it_came_s < 1.0
    assert 10.0 <= alone_s < 11.0
    assert nobody_s == 0.0


async def test_a_second_signal_cuts_it_short() -> None:
    """What is done meanwhile is cancelled."""
    made = leaving.Leaving()
    cut = False

    async def last_work() -> None:
        nonlocal cut
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut = True
            raise

    made.ask()
    asked = made.asked.is_set()
    early = made.hurried.is_set()
    async with asyncio.TaskGroup() as group:
        going = group.create_task(made.unless_hurried(last_work()))
        await clocks.settle()
        early |= going.done()
        made.ask()

    assert (asked, early, cut) == (True, False, True)
