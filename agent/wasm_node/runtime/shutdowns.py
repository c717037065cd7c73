"""
The end of the runtime: all attempts end, by priority and in order.

As a kubelet's graceful node shutdown (KEP-2000, KEP-2712; killPods and
groupByPriority of nodeshutdown_manager.go): the pods of one group are told at
once and have that group's time, each no more than it can use; the next group's
turn comes when they have ended, or with their time. Of a pod a sidecar is told
when those have ended that need it, and what they took is off its time; two
seconds are left at least, as at any other end (killContainer of
kuberuntime_container.go). Who tells us twice wants it over at once.

A preStop hook is the agent's to call. So an attempt with one is held: the
agent hears of it, calls the hook, and stops it as it always does, or else it
is stopped when its time is over. A sidecar is held with the others of its pod,
as its hook awaits no turn; that the stop does is the agent's care. Where no
agent listens nobody waits for it; one that goes away, or that lost the
supervisor, may be back after some seconds.

When which group's turn came is on record, so that a supervisor that is killed
in between takes none of them for new: all of it keeps its bound.
"""

import dataclasses
import math
import os
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from wasm_node.protocol import records, settings
from wasm_node.runtime import attempts, eventloop, stops

_LOOK_AGAIN_S = 0.02
_AGENT_BACK_S = 3.0
_TURNS_BYTES = 1 << 16


class Turns:
    """
    When which group's turn came, in a file that init keeps open for us.

    As it is gone with init, so on no other boot, the monotonic clock will do.
    A line is written at once: what there is of one that is cut off is no turn.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def note(self, group: int, since: float) -> None:
        """Put on record that it is a group's turn."""
        os.write(self._fd, f"{group} {since!r}\n".encode())

    def read(self) -> dict[int, float]:
        """Return the groups whose turn has come, and when that was."""
        whole = os.pread(self._fd, _TURNS_BYTES, 0).decode().rpartition("\n")[0]
        pairs = (line.split(" ") for line in whole.splitlines())
        return {int(group): float(since) for group, since in pairs}


class Hands(Protocol):
    """What a shutdown is carried out with."""

    def announce(self) -> None:
        """Say that it has begun."""

    def is_heard(self) -> bool:
        """Say whether an agent listens."""

    def hold(self, attempt: attempts.Attempt, most_s: float) -> None:
        """Have the agent stop it within that time; else it is stopped then."""

    def end(self, attempt: attempts.Attempt, grace_s: float) -> None:
        """Stop it; asked again with less time, sooner."""


@dataclasses.dataclass(frozen=True)
class _Due:
    """
    One that is to be told.

    Attributes:
        attempt: which.
        spec: its spec; None: it is gone.
        since: when its group's turn came, and its pod was told.
        until: when its group's time is over.
    """

    attempt: attempts.Attempt
    spec: records.ContainerSpec | None
    since: float = 0.0
    until: float = 0.0

    def left_s(self, own_s: float, now: float) -> float:
        """Return what is left now of the time that it has by its spec."""
        return min(own_s, max(stops.LEAST_S, self.since + own_s - now))


class Shutdown:
    """Ends all attempts, and then the loop."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        known: attempts.Attempts,
        groups: Sequence[settings.ShutdownGroup],
        turns: Turns,
        hands: Hands,
    ) -> None:
        self._loop = loop
        self._known = known
        self._groups = groups
        self._kept = turns
        self._hands = hands
        self._turns: list[tuple[int, list[_Due]]] = []
        """Groups whose turn has not come, and who is in them."""
        self._turn: list[_Due] = []
        self._until = 0.0
        self._waiting: list[_Due] = []
        """Of the groups whose turn it is: who waits for its own, also held."""
        self._all: set[attempts.Attempt] = set()
        self._heard_at = -math.inf
        """When an agent was there last."""
        self.has_begun = False

    def ask(self, _signals: bytes) -> None:
        """Begin; asked again, hurry."""
        if self.has_begun:
            for each in self._known.unfinished():
                self._hands.end(each, 0.0)
            return
        self.has_begun = True
        self._hands.announce()
        self._all = set(self._known.unfinished())
        turns: list[list[_Due]] = [[] for _ in self._groups]
        for each in self._all:
            spec = each.spec()
            turns[place(self._groups, spec.priority if spec else 0)].append(_Due(each, spec))
        begun = self._kept.read()
        if begun or self._hands.is_heard():
            self._heard_at = time.monotonic()
        for group, since in begun.items():  # an earlier supervisor's, in their order
            self._begin(group, turns[group], since)
        self._turns = [(i, dues) for i, dues in enumerate(turns) if dues and i not in begun]
        self._look()

    def _begin(self, group: int, dues: Sequence[_Due], since: float) -> None:
        self._until = since + self._groups[group].grace_s
        self._turn = [dataclasses.replace(x, since=since, until=self._until) for x in dues]
        self._waiting += self._turn

    def _look(self) -> None:
        now = time.monotonic()
        if self._turns and (now >= self._until or self._are_over(x.attempt for x in self._turn)):
            group, dues = self._turns.pop(0)
            self._kept.note(group, now)
            self._begin(group, dues, now)
        self._give_up_agent(now)
        self._waiting = [each for each in self._waiting if not self._is_told(each, now)]
        left = tuple(self._known.unfinished())
        for each in left:
            if each not in self._all:  # it was on its way when all this began
                self._hands.end(each, 0.0)
        if left:
            self._loop.later(_LOOK_AGAIN_S, self._look)
        else:
            self._loop.stop()

    def _is_told(self, due: _Due, now: float) -> bool:
        """Tell it, unless others of its pod go first; say if that is all."""
        attempt, spec = due.attempt, due.spec
        if attempt.phase is attempts.Phase.ENDED or spec is None:
            self._hands.end(attempt, max(0.0, due.until - now))
            return True
        siblings = self._known.of_pod(attempt.id.pod_uid) if spec.ends_after else []
        is_next = self._are_over(x for x in siblings if x.id.container in spec.ends_after)
        left_s = max(due.until - now, stops.LEAST_S if spec.ends_after else 0.0)
        runs = attempt.phase is attempts.Phase.RUNNING
        is_heard = now - self._heard_at <= _AGENT_BACK_S
        if spec.pre_stop_s and runs and (is_heard or attempt.is_held):
            if not attempt.is_held:
                self._hands.hold(attempt, min(left_s, due.left_s(spec.pre_stop_s, now)))
            return is_next or not attempt.is_held
        if not is_next:
            return False
        if spec.stop_grace_s is None:
            self._hands.end(attempt, left_s)
        else:
            self._hands.end(attempt, min(left_s, due.left_s(spec.stop_grace_s, now)))
        return True

    def _are_over(self, found: Iterable[attempts.Attempt]) -> bool:
        """Say whether all have ended, or were given up before they began."""
        return all(
            each.phase is attempts.Phase.ENDED or self._known.get(each.id) is not each
            for each in found
        )

    def _give_up_agent(self, now: float) -> None:
        """Wait no more for one that has gone; each ends in its turn."""
        early = {each.attempt for each in self._waiting}
        if self._hands.is_heard():
            self._heard_at = now
        elif now - self._heard_at > _AGENT_BACK_S:
            for each in self._known.unfinished():
                if each.is_held and each.stop is not None and each not in early:
                    left_s = (each.stop.deadline_ns - time.time_ns()) / 1e9
                    self._hands.end(each, max(0.0, left_s))


def place(groups: Sequence[settings.ShutdownGroup], priority: int) -> int:
    """
    Return which of the groups a pod belongs to.

    As groupByPriority: the one with the highest priority that is not above the
    pod's own; below all of them, the lowest.
    """
    return max((i for i, each in enumerate(groups) if each.priority <= priority), default=0)
