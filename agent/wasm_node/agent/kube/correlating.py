"""
Which events are told, and as what: pure, so that its rules can be tested.

The rules and figures are those of client-go's EventCorrelator
(tools/record/events_cache.go), which every kubelet uses:

- what was said before is counted and not said again;
- of ten events about a pod within ten minutes that differ in their words alone
  the tenth and all that follow are one, whose words are those of the last;
- about one pod 25 are told of each type, and then one every five minutes. What
  is not told is counted all the same.

What is remembered is bounded; what was not seen for longest is forgotten.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from wasm_node.agent.model import actions, ids

_REMEMBERED = 4096
_SIMILAR = 10
_SIMILAR_WITHIN_S = 600.0
_BURST = 25.0
_REFILL_S = 300.0
_COMBINED = "(combined from similar events): "

Key = TypeVar("Key")
Value = TypeVar("Value")

About: TypeAlias = ids.PodRef | ids.NodeRef
"""What an event is about."""

_Said: TypeAlias = tuple[About, actions.Event]


@dataclasses.dataclass
class Series:
    """
    One event that is told, and how often it has happened.

    Attributes:
        first: unix seconds of the first time.
        count: how often.
        name: of its object; empty: there is none yet.
    """

    first: float
    count: int = 0
    name: str = ""


@dataclasses.dataclass
class _Similar:
    last: float
    messages: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class _Bucket:
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(_BURST, self.tokens + max(0.0, now - self.at) / _REFILL_S)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class _Recent(Generic[Key, Value]):
    """The values of the keys that were asked for last."""

    def __init__(self) -> None:
        self._kept: collections.OrderedDict[Key, Value] = collections.OrderedDict()

    def of(self, key: Key, make: Callable[[], Value]) -> Value:
        value = self._kept.setdefault(key, make())
        self._kept.move_to_end(key)
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)
        return value


class Correlator:
    """Remembers what was said of which pod or node."""

    def __init__(self) -> None:
        self._similar: _Recent[tuple[object, ...], _Similar] = _Recent()
        self._series: _Recent[_Said, Series] = _Recent()
        self._buckets: _Recent[tuple[About, bool], _Bucket] = _Recent()

    def take(
        self, about: About, event: actions.Event, *, now: float
    ) -> tuple[actions.Event, Series] | None:
        """Return what to tell, and of which series; None: tell nothing."""
        told, key = self._combined(about, event, now)
        series = self._series.of((about, key), lambda: Series(now))
        series.count += 1
        bucket = self._buckets.of((about, event.warning), lambda: _Bucket(_BURST, now))
        return (told, series) if bucket.take(now) else None

    def _combined(
        self, about: About, event: actions.Event, now: float
    ) -> tuple[actions.Event, actions.Event]:
        """Return the event as it is told, and that by which it is known."""
        similar = self._similar.of((about, event.warning, event.reason), lambda: _Similar(now))
        if now - similar.last > _SIMILAR_WITHIN_S:
            similar.messages.clear()
        similar.last = now
        similar.messages.add(event.message)
        if len(similar.messages) < _SIMILAR:
            return event, event
        similar.messages.pop()  # which one does not matter: it stays at the limit
        told = dataclasses.replace(event, message=_COMBINED + event.message)
        return told, dataclasses.replace(event, message=_COMBINED, container="")
