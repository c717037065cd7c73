"""
Whether the runtime is there: told by `loops.facts`, judged with patience.

A supervisor that was killed is back in a second, its init waits five at most
between two tries, and a runtime that is replaced takes a few. None of that
concerns the cluster: pods run on, and what is new waits. A Node that is not
Ready does: its pods leave their Services, and are evicted in the end. So only
an absence of ten seconds counts, and until the first ten have passed nothing
is said at all: what the Node has said before stays.

A runtime that is told to end says so, which counts at once: it is a node that
shuts down, in the words of a kubelet (nodeshutdown_manager.go, ShutdownStatus).
"""

import asyncio
import contextlib
from collections.abc import Callable

from wasm_node.agent import interfaces

PATIENCE_S = 10.0
WORD_S = 1.0
"""Who is told to end at the same time as we are has said so by then."""
BACK_S = 3.0
"""A supervisor that was killed while it ended is back by then."""
SHUTTING_DOWN = "node is shutting down"
_TO_DO = "see to it that `wasm-node runtime` runs on this host, and read its log"


class Presence:
    """The runtime's presence; `run` judges it until cancelled."""

    def __init__(self, clock: interfaces.Clock) -> None:
        self._clock = clock
        self._problem: str | None = None
        self._why = "it has not been heard of"
        self._here = asyncio.Event()
        self._away = asyncio.Event()
        self._away.set()
        self._ending = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_here(self) -> bool:
        """Whether it can be reached at this moment."""
        return self._here.is_set()

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end; so until there is one that was not."""
        return self._ending.is_set()

    @property
    def problem(self) -> str | None:
        """Why the node cannot run pods; empty: it can; None: too early."""
        return self._problem

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever `problem` changes."""
        self._listeners.append(listener)

    def here(self) -> None:
        """Take note that it answers; one that ends says so after this."""
        self._ending.clear()
        self._away.clear()
        self._here.set()

    def ends(self) -> None:
        """Take note that it was told to end."""
        self._ending.set()
        self._say(SHUTTING_DOWN)

    def away(self, why: str) -> None:
        """Take note that it cannot be reached; may be said again and again."""
        self._why = why
        self._here.clear()
        self._away.set()

    async def wait_gone(self) -> bool:
        """
        Wait for the end of a runtime that ends; say whether there was one.

        One that may be told to end at this moment has a second to say so. One
        that is away has three to come back, and then again that second: its
        supervisor may have been killed before all had ended.
        """
        if not await self._says_it_ends():
            return False
        while True:
            await self._away.wait()
            if not await _comes(self._here, BACK_S) or not await self._says_it_ends():
                return True

    async def _says_it_ends(self) -> bool:
        if self.is_here and not self.is_ending:
            await _comes(self._ending, WORD_S)
        return self.is_ending

    async def run(self) -> None:
        """Keep `problem` true until cancelled."""
        while True:
            await self._away.wait()
            async with asyncio.TaskGroup() as group:
                patience = group.create_task(self._lose_patience())
                await self._here.wait()
                patience.cancel()
            self._say(SHUTTING_DOWN if self.is_ending else "")

    async def _lose_patience(self) -> None:
        await self._clock.sleep(PATIENCE_S)
        self._say(f"the runtime has been away for {PATIENCE_S:.0f} s: {self._why}; {_TO_DO}")

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            for listener in self._listeners:
                listener()


async def _comes(event: asyncio.Event, within_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            return await event.wait()
    return False
