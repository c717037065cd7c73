"""What every Clock promises: the fake and the real one."""

import asyncio
import datetime as dt
from collections.abc import Callable

import pytest

from tests.fakes.clock import FakeClock
from wasm_node.agent import interfaces
from wasm_node.agent.asynckit.clock import SystemClock

Made = tuple[interfaces.Clock, Callable[[float], None]]
_WITHIN_S = 10.0
_STEP_S = 1 / 16  # adds up exactly
_COARSE_S = 0.002  # what one clock may tick while another does not


@pytest.fixture(params=["fake", "real"])
def made(request: pytest.FixtureRequest) -> Made:
    """Return a clock, and what has time pass where it does not by itself."""
    if request.param == "fake":
        fake = FakeClock()
        return fake, fake.advance
    return SystemClock(), lambda _seconds: None


def test_now_is_unix_time(made: Made) -> None:
    """Now is in seconds since 1970, and not before this was written."""
    clock, _ = made
    written = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    assert written.timestamp() < clock.now() < written.timestamp() + 100 * 365 * 86400


async def test_monotonic_time_goes_on_with_it(made: Made) -> None:
    """It moves by as much, from wherever it began."""
    clock, time_passes = made
    before, begun, since = clock.monotonic(), clock.now(), clock.monotonic()
    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(clock.sleep(_STEP_S))
        await asyncio.sleep(0)
        time_passes(_STEP_S)

    until, ended, after = clock.monotonic(), clock.now(), clock.monotonic()
    assert until - since >= _STEP_S - _COARSE_S
    # However long each look took, by itself or because others ran.
    assert until - since - _COARSE_S <= ended - begun <= after - before + _COARSE_S


async def test_a_sleep_takes_its_time(made: Made) -> None:
    """After a sleep it is later, by as much at least."""
    clock, time_passes = made
    begun = clock.now()
    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        sleeping = group.create_task(clock.sleep(_STEP_S))
        await asyncio.sleep(0)
        assert not sleeping.done()
        time_passes(_STEP_S)

    assert clock.now() - begun >= _STEP_S - _COARSE_S


async def test_who_sleeps_less_wakes_first(made: Made) -> None:
    """Sleeps are by their own lengths, not by who came first."""
    clock, time_passes = made
    woke: list[int] = []

    async def sleep(steps: int) -> None:
        await clock.sleep(steps * _STEP_S)
        woke.append(steps)

    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        for steps in (3, 1, 2):
            group.create_task(sleep(steps))
        await asyncio.sleep(0)
        for count in (1, 2, 3):
            time_passes(_STEP_S)
            while len(woke) < count:
                await asyncio.sleep(0.001)

    assert [1, 2, 3] == woke


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_no_time_is_no_wait(made: Made, seconds: float) -> None:
    """What is due already is not waited for."""
    clock, _ = made
    async with asyncio.timeout(_WITHIN_S):
        await clock.sleep(seconds)


async def test_a_sleep_can_be_cancelled(made: Made) -> None:
    """A sleeper that is cancelled is gone at once, and alone."""
    clock, time_passes = made
    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        cancelled = group.create_task(clock.sleep(3600))
        other = group.create_task(clock.sleep(_STEP_S))
        await asyncio.sleep(0)
        cancelled.cancel()
        time_passes(_STEP_S)

    assert (True, False) == (cancelled.cancelled(), other.cancelled())
