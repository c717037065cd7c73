"""A clock that stands until it is told to go on."""

import asyncio

_TURNS = 50


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class FakeClock:
    """Clock whose time moves only by `advance`."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        """Return unix time in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the same: nobody sets this clock."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once `advance` has gone so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._now + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        except asyncio.CancelledError:
            self._sleepers.remove(sleeper)
            raise

    def advance(self, seconds: float) -> None:
        """Move on, and wake whoever slept until now."""
        self._now += seconds
        due = [each for each in self._sleepers if each[0] <= self._now]
        self._sleepers = [each for each in self._sleepers if each[0] > self._now]
        for _, event in due:
            event.set()

    async def go_on(self, seconds: float) -> None:
        """Let so much time pass, and what is due by then happen."""
        self.advance(seconds)
        await settle()

    @property
    def sleepers(self) -> int:
        """How many sleep now."""
        return len(self._sleepers)
