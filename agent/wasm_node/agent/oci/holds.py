"""
What is wanted of the store right now, so that nobody removes it meanwhile.

Whoever looks for an image takes each name and digest before it asks whether it
is there. Whoever removes says what is to go: what is taken does not, and who
wants what goes is held up until it has gone, and then finds nothing. All of it
is decided on the event loop, between two awaits, so that no order of events
leaves anybody with half an image. It has never heard of files.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterator


class Holds:
    """All that is taken, and what is going."""

    def __init__(self) -> None:
        self._held: set[Hold] = set()
        self._watching: list[set[str]] = []
        self._going: frozenset[str] = frozenset()
        self._gone = asyncio.Event()

    @contextlib.contextmanager
    def hold(self) -> Iterator["Hold"]:
        """Give a hold; what it takes stays for the length of the context."""
        made = Hold(self)
        self._held.add(made)
        try:
            yield made
        finally:
            self._held.discard(made)

    @contextlib.contextmanager
    def watch(self) -> Iterator[set[str]]:
        """Give a set of all that is taken, or has been in the context."""
        seen = {key for each in self._held for key in each.keys}
        self._watching.append(seen)
        try:
            yield seen
        finally:
            self._watching.remove(seen)

    @contextlib.contextmanager
    def removing(self, keys: Collection[str]) -> Iterator[None]:
        """Hold up whoever wants one of these; one context at a time."""
        self._going, self._gone = frozenset(keys), asyncio.Event()
        try:
            yield
        finally:
            self._going = frozenset()
            self._gone.set()

    async def take(self, by: "Hold", key: str) -> None:
        """See `Hold.take`."""
        while key in self._going:
            await self._gone.wait()
        by.keys.add(key)
        for each in self._watching:
            each.add(key)


class Hold:
    """What one search has taken; made by `Holds.hold`."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds
        self.keys: set[str] = set()

    async def take(self, key: str) -> None:
        """Have a name or digest stay; waits while it is being removed."""
        await self._holds.take(self, key)
