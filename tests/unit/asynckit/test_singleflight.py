"""One call per key, shared, whatever becomes of its callers."""

import asyncio

import pytest

from wasm_node.agent.asynckit.singleflight import SingleFlight


class Work:
    """Work that ends when it is told to; counts how often it began."""

    def __init__(self) -> None:
        self.began = 0
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        """Wait for the end."""
        self.began += 1
        return await asyncio.shield(self.end)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_share() -> None:
    """All who ask for a key meanwhile get the one result."""
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(flights.do("k", work)) for _ in range(5)]
        await _settle()
        work.end.set_result("done")

    assert [task.result() for task in tasks] == ["done"] * 5
    assert work.began == 1
    assert repr(flights) == "<SingleFlight 0 in flight>"


async def test_keys_are_apart() -> None:
    """Another key, or the same later, is another call."""
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    work.end.set_result("done")
    for key in ("a", "b", "a"):
        await flights.do(key, work)

    assert work.began == 3


async def test_errors_are_everybodys() -> None:
    """What the work raises reaches every caller, and the next call is anew."""
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()

    async def fails() -> None:
        with pytest.raises(ValueError, match="no"):
            await flights.do("k", work)

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(fails())
        await _settle()
        work.end.set_exception(ValueError("no"))
    await fails()

    assert work.began == 2


async def test_a_cancelled_leader_is_replaced() -> None:
    """If the caller at work is cancelled, the next one takes over."""
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as group:
        leader, *others = [group.create_task(flights.do("k", work)) for _ in range(3)]
        await _settle()
        leader.cancel()
        await _settle()
        work.end.set_result("done")

    assert leader.cancelled()
    assert [task.result() for task in others] == ["done"] * 2
    assert work.began == 2


async def test_a_cancelled_follower_harms_nobody() -> None:
    """A caller that waits and is cancelled leaves the work alone."""
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    async with asyncio.TaskGroup() as group:
        leader, follower = [group.create_task(flights.do("k", work)) for _ in range(2)]
        await _settle()
        follower.cancel()
        await _settle()
        work.end.set_result("done")

    assert follower.cancelled()
    assert leader.result() == "done"
    assert work.began == 1


async def test_work_anew_is_shared_and_newer_than_the_call() -> None:
    """Who asks while some is under way gets the next, all of them the same."""
    flights: SingleFlight[str, str] = SingleFlight()
    old, new = Work(), Work()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(flights.do_anew("k", old))
        await _settle()
        others = [group.create_task(flights.do_anew("k", new)) for _ in range(3)]
        await _settle()
        early = new.began
        old.end.set_result("old")
        await _settle()
        new.end.set_result("new")

    assert (first.result(), [task.result() for task in others]) == ("old", ["new"] * 3)
    assert (early, new.began) == (0, 1)
