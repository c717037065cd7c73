"""
One worker per key: in order for one object, in parallel between objects.

`poke(key)` promises that the handler runs for that key at least once from now
on; pokes during a run fold into one further run. Workers die when idle. The
shape is kopf's queueing and client-go's workqueue; it has never heard of pods.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class KeyedWorkers(Generic[Key]):
    """
    Runs `handle(key)` after pokes, at most `limit` keys at a time.

    An exception of the handler ends `run`, and with it the program: what a
    handler can survive, it handles itself.
    """

    def __init__(self, handle: Callable[[Key], Awaitable[None]], *, limit: int) -> None:
        self._handle = handle
        self._slots = asyncio.Semaphore(limit)
        self._again: dict[Key, bool] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._group: asyncio.TaskGroup | None = None

    def __repr__(self) -> str:
        """Show how much is going on."""
        return f"<KeyedWorkers {len(self._again)} active, {len(self._timers)} waiting>"

    @property
    def busy(self) -> bool:
        """Whether any key is being handled or about to be."""
        return bool(self._again)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for key in self._again:  # poked before we ran
                    group.create_task(self._work(key))
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            for timer in self._timers.values():
                timer.cancel()

    def poke(self, key: Key) -> None:
        """Have the handler run for this key, once more if it runs now."""
        self._cancel_timer(key)
        if key in self._again:
            self._again[key] = True
            return
        self._again[key] = False
        if self._group is not None:
            self._group.create_task(self._work(key))

    def poke_later(self, key: Key, delay_s: float) -> None:
        """Poke after a delay; an earlier poke makes this one needless."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, delay_s)
        if key in self._timers and self._timers[key].when() <= at:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(at, self.poke, key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def _work(self, key: Key) -> None:
        while True:
            self._again[key] = False
            async with self._slots:
                await self._handle(key)
            if not self._again[key]:
                del self._again[key]
                return
