"""
One call per key at a time, shared by all who ask meanwhile.

The first caller does the work in its own task, so the work has a parent and a
cancellation reaches it. If that caller is cancelled, the next one in line
takes over; an error is everybody's. It has never heard of images.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SingleFlight(Generic[Key, Value]):
    """Runs `work` once per key at a time; later callers wait for its result."""

    def __init__(self) -> None:
        self._flights: dict[Key, asyncio.Future[Value]] = {}

    def __repr__(self) -> str:
        """Show how much is going on."""
        return f"<SingleFlight {len(self._flights)} in flight>"

    async def do(self, key: Key, work: Callable[[], Awaitable[Value]]) -> Value:
        """
        Return the result of the work for this key, ours or a running one's.

        Whatever the work raises is raised to every caller that waited for it.
        """
        while (flight := self._flights.get(key)) is not None:
            await asyncio.wait([flight])  # unlike awaiting it, never cancels it
            if not flight.cancelled():
                return flight.result()
        flight = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        try:
            value = await work()
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # taken note of: there may be no other caller
            raise
        else:
            flight.set_result(value)
            return value
        finally:
            flight.cancel()  # no effect on a flight that has landed
            del self._flights[key]

    async def do_anew(self, key: Key, work: Callable[[], Awaitable[Value]]) -> Value:
        """As `do`, by work that begins after this call: ours or another's."""
        if (flight := self._flights.get(key)) is not None:
            await asyncio.wait([flight])
        return await self.do(key, work)
