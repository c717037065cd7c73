"""
The supervisor's loop: descriptors, timers, one thread.

Not asyncio: importing it costs more memory than all the rest of the supervisor,
and every handler here is short and never waits. What must wait, for a disk, is
done apart from it.
"""

import dataclasses
import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

Callback: TypeAlias = Callable[[], None]
Result = TypeVar("Result")


@dataclasses.dataclass(eq=False)
class Timer:
    """A call that will be made, unless it is cancelled."""

    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        """Have the call not be made."""
        self.cancelled = True


class EventLoop:
    """Calls handlers when descriptors are ready and when time has come."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False

    def watch(self, fd: int, handler: Callable[[int], None], *, write: bool = False) -> None:
        """Call `handler(events)` when there is something to read (or room)."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        try:
            self._selector.modify(fd, events, handler)
        except KeyError:
            self._selector.register(fd, events, handler)

    def forget(self, fd: int) -> None:
        """Watch a descriptor no more; before it is closed."""
        self._selector.unregister(fd)

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back after so many seconds."""
        timer = Timer(callback)
        due = time.monotonic() + max(0.0, delay_s)
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    def apart(self, work: Callable[[], Result], done: Callable[[Result], None]) -> None:
        """
        Run what takes long in a thread; then `done`, here, with its result.

        Work that fails has no result: it should return its failures.
        """
        reader, writer = os.pipe2(os.O_CLOEXEC)
        results: list[Result] = []

        def run() -> None:
            try:
                results.append(work())
            finally:
                os.close(writer)

        def over(_events: int) -> None:
            self.forget(reader)
            os.close(reader)
            for each in results:
                done(each)

        self.watch(reader, over)
        threading.Thread(target=run, daemon=True).start()

    def run(self) -> None:
        """Work until `stop`."""
        self._running = True
        while self._running:
            for key, events in self._selector.select(self._wait_s()):
                now = self._selector.get_map().get(key.fd)
                if now is not None and now.data == key.data:  # else closed in this very round
                    key.data(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                timer = heapq.heappop(self._timers)[2]
                if not timer.cancelled:
                    timer.callback()

    def stop(self) -> None:
        """Leave `run` after the present handler."""
        self._running = False

    def _wait_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
