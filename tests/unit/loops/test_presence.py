"""When an absence of the runtime counts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes import clock as clocks
from wasm_node.agent.loops import presence


class Bed:
    """A presence over a fake clock, and what it has said."""

    def __init__(self) -> None:
        self.clock = clocks.FakeClock()
        self.presence = presence.Presence(self.clock)
        self.said: list[str | None] = []
        self.presence.listen(lambda: self.said.append(self.presence.problem))


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    """Give one at work, of a runtime not heard of yet."""
    made = Bed()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.presence.run())
        await clocks.settle()
        yield made
        running.cancel()


async def test_nothing_is_said_too_early(bed: Bed) -> None:
    """At first nobody can tell; a runtime that answers is no problem."""
    bed.clock.advance(presence.PATIENCE_S - 1)
    await clocks.settle()
    assert bed.presence.problem is None
    bed.presence.here()
    await clocks.settle()

    assert [""] == bed.said


async def test_a_runtime_never_heard_of_is_a_problem(bed: Bed) -> None:
    """After ten seconds the node says so, and what to do."""
    bed.presence.away("nothing answers on x.sock")
    bed.clock.advance(presence.PATIENCE_S)
    await clocks.settle()

    (said,) = bed.said
    assert said is not None
    assert "nothing answers on x.sock" in said
    assert "wasm-node runtime" in said


async def test_a_short_absence_does_not_count(bed: Bed) -> None:
    """Restarts, even many, are no news if each is short."""
    bed.presence.here()
    await clocks.settle()
    for _ in range(5):
        bed.presence.away("it closed the connection")
        await clocks.settle()
        bed.clock.advance(presence.PATIENCE_S - 1)
        await clocks.settle()
        assert not bed.presence.is_here
        bed.presence.here()
        await clocks.settle()

    assert [""] == bed.said


async def test_a_long_absence_is_said_once_and_so_is_its_end(bed: Bed) -> None:
    """The last reason counts; tries in vain in between say nothing new."""
    bed.presence.here()
    await clocks.settle()
    for why in ("it closed the connection", "nothing answers"):
        bed.presence.away(why)
        await clocks.settle()
    bed.clock.advance(presence.PATIENCE_S)
    await clocks.settle()
    bed.presence.away("nothing answers")
    bed.clock.advance(presence.PATIENCE_S)
    await clocks.settle()
    bed.presence.here()
    await clocks.settle()

    fine, problem, again = bed.said
    assert ("", "") == (fine, again)
    assert problem is not None
    assert "nothing answers" in problem


async def test_a_runtime_that_ends_is_a_node_that_shuts_down(bed: Bed) -> None:
    """It is said at once, in a kubelet's words, until another one is there."""
    bed.presence.here()
    await clocks.settle()
    bed.presence.ends()
    was_ending = bed.presence.is_ending
    bed.presence.away("it closed the connection")
    await clocks.settle()
    is_ending = bed.presence.is_ending
    bed.presence.here()
    await clocks.settle()

    assert ["", "node is shutting down", ""] == bed.said
    assert (True, True, False) == (was_ending, is_ending, bed.presence.is_ending)


async def test_one_that_still_ends_says_so_again(bed: Bed) -> None:
    """A lost connection does not make it well: what came back ends, too."""
    bed.presence.here()
    await clocks.settle()
    bed.presence.ends()
    bed.presence.away("it closed the connection")
    bed.presence.here()
    bed.presence.ends()
    await clocks.settle()

    assert ["", "node is shutting down"] == bed.said


async def test_who_goes_waits_for_a_runtime_that_ends(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has gone, and not for one that was not there."""
    monkeypatch.setattr(presence, "BACK_S", 0.01)
    never = await bed.presence.wait_gone()
    bed.presence.here()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(bed.presence.wait_gone())
        await clocks.settle()
        bed.presence.ends()
        await clocks.settle()
        early = waiting.done()
        bed.presence.away("it closed the connection")

    assert (False, False, True) == (never, early, waiting.result())


async def test_who_goes_does_not_wait_for_one_that_stays(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a moment to say that it ends."""
    monkeypatch.setattr(presence, "WORD_S", 0.01)
    bed.presence.here()

    assert await bed.presence.wait_gone() is False


async def test_who_goes_waits_for_a_supervisor_that_was_killed(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is back and says again that it ends has not gone."""
    bed.presence.here()
    bed.presence.ends()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(bed.presence.wait_gone())
        await clocks.settle()
        bed.presence.away("it closed the connection")
        await clocks.settle()
        killed = waiting.done()
        bed.presence.here()
        await clocks.settle()
        bed.presence.ends()
        await clocks.settle()
        back = waiting.done()
        monkeypatch.setattr(presence, "BACK_S", 0.01)
        bed.presence.away("it closed the connection")

    assert (killed, back, waiting.result()) == (False, False, True)


async def test_who_goes_does_not_wait_for_the_next_runtime(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is there after it, and was not told to end, is another one."""
    monkeypatch.setattr(presence, "WORD_S", 0.01)
    bed.presence.here()
    bed.presence.ends()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(bed.presence.wait_gone())
        await clocks.settle()
        bed.presence.away("it closed the connection")
        await clocks.settle()
        bed.presence.here()

    assert waiting.result() is True
