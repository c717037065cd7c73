"""
Answers kept for a while, and one question at a time for each key.

Who asks for a key while another does waits, and finds the answer. If the one
who asked gives up or fails, the next one asks: nobody's cancellation becomes
another's failure. Failures are never kept.
"""

import asyncio
import collections
import weakref
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Remembered(Generic[Key, Answer]):
    """
    The last answers by key, at most `most`; the oldest go first.

    Attributes:
        keep_s: seconds for which an answer counts.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, *, keep_s: Callable[[Answer], float], clock: Callable[[], float], most: int = 1024
    ) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._most = most
        self._answers: collections.OrderedDict[Key, tuple[float, Answer]] = (
            collections.OrderedDict()
        )
        self._asking: weakref.WeakValueDictionary[Key, asyncio.Lock] = weakref.WeakValueDictionary()

    async def get(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer for the key; `ask` for it if none counts."""
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            kept = self._answers.get(key)
            if kept is not None and self._clock() < kept[0]:
                return kept[1]
            answer = await ask()
            self._answers[key] = (self._clock() + self._keep_s(answer), answer)
            self._answers.move_to_end(key)
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
            return answer
