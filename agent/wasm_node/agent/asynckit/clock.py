"""The real clock; tests use one of their own."""

import asyncio
import time


class SystemClock:
    """Clock over the system's time."""

    def now(self) -> float:
        """Return unix time in seconds."""
        return time.time_ns() / 1e9

    def monotonic(self) -> float:
        """Return seconds of a time that is never set."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)
