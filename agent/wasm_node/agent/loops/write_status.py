"""
Statuses to their sink: coalesced per pod, newest wins, in bounded parallel.

A change only marks the pod; what is written is computed when its turn comes,
and not at all if it equals what was written last. A failed write is tried
again with growing waits, with whatever is true by then. Readiness is written
again if somebody else changed it: the node lifecycle controller denies it to
all pods of a node that was not heard of for a while, and leaves it to the node
to restore it (as the kubelet's status manager does, `needsReconcile`).

A terminal phase in the API server is final, whoever gave it. If somebody else
did, while containers ran, what is left to say is how they ended.

An API server that asks for a pause (429, Retry-After) asks it of this node:
until it is over no status is written, whatever changes meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from wasm_node.agent import errors, interfaces
from wasm_node.agent.asynckit import backoff, keyed
from wasm_node.agent.model import ids, manifest
from wasm_node.agent.plan import last
from wasm_node.agent.plan import pods as pods_plan
from wasm_node.agent.plan import status as planning
from wasm_node.agent.stores import pods

log = logging.getLogger(__name__)

_PARALLEL = 16
_SETTLE_S = 3.0
"""
A pod just seen usually runs within this time: one write instead of two. Till
then it reads Pending, as when it was made; what goes wrong is told at once.
"""
_DOUBT_S = 3.0
"""News of our own writes may be late: so long a difference is not believed."""
_READINESS = ("Ready", "ContainersReady")


class StatusWriter:
    """Writes statuses; `run` works until cancelled."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        sink: interfaces.StatusSink,
        addresses: Callable[[], planning.Addresses],
        clock: interfaces.Clock,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._sink = sink
        self._addresses = addresses
        self._clock = clock
        self._written: dict[ids.PodUid, dict[str, Any]] = {}
        self._conditions: dict[ids.PodUid, tuple[manifest.Condition, ...]] = {}
        self._pauses: dict[ids.PodUid, backoff.Backoff] = {}
        self._doubted: dict[ids.PodUid, float] = {}
        self._turns: dict[ids.PodUid, asyncio.Lock] = {}
        self._last: set[ids.PodUid] = set()
        """Of these nothing else will be true any more."""
        self._untold: set[ids.PodUid] = set()
        """Of these the last write has not gone through."""
        self._paused_until = 0.0
        self._workers = keyed.KeyedWorkers(self._write, limit=_PARALLEL)
        seen.listen(self._workers.poke)
        wanted.listen(self._workers.poke)

    @property
    def busy(self) -> bool:
        """Whether statuses wait to be written or are on their way."""
        return self._workers.busy

    @property
    def behind(self) -> bool:
        """Whether any is still to be written: one that failed counts, too."""
        return self._workers.busy or bool(self._untold)

    async def run(self) -> None:
        """Write until cancelled."""
        await self._workers.run()

    def drop(self, uid: ids.PodUid) -> None:
        """Forget a pod."""
        self._written.pop(uid, None)
        self._conditions.pop(uid, None)
        self._pauses.pop(uid, None)
        self._doubted.pop(uid, None)
        self._turns.pop(uid, None)
        self._last.discard(uid)
        self._untold.discard(uid)

    async def write_last(self, uid: ids.PodUid) -> None:
        """
        Write the last that is to be said of a pod of which nothing runs.

        Raises:
            Retryable: it may go through later.
        """
        self._last.add(uid)
        await self.write_now(uid)

    async def write_now(self, uid: ids.PodUid) -> None:
        """
        Write what is true now, if it was not written yet.

        NB: one at a time of each pod. Two that are on their way may arrive in
        any order, and the last status must not be followed by one before it.

        Raises:
            Throttled: the API server asks for a pause, or did so before.
            Retryable: it may go through later.
        """
        if self._wanted.get(uid) is None:
            return
        async with self._turns.setdefault(uid, asyncio.Lock()):
            await self._write_true(uid)

    async def _write_true(self, uid: ids.PodUid) -> None:
        self._untold.discard(uid)
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None or seen.forgotten or wanted.gone:
            return
        if wanted.finished and not last.is_untold(wanted, seen):
            return
        made = planning.status(
            wanted,
            seen,
            self._addresses(),
            previous=self._conditions.get(uid, wanted.status.conditions),
            now=self._clock.now(),
            is_last=uid in self._last,
        )
        status = made.to_builtins()
        if status == self._written.get(uid):
            return
        self._untold.add(uid)
        self._check_pause()
        try:
            await self._sink.write(wanted.ref, status)
        except errors.NotFound:
            log.debug("Pod %s is gone from the API server", wanted.ref)
        except errors.Throttled as error:
            until = self._clock.monotonic() + error.after_s
            self._paused_until = max(self._paused_until, until)
            log.warning("Writing no status for %.0f s: %s", error.after_s, error)
            raise
        self._untold.discard(uid)
        if self._wanted.get(uid) is None:  # it was let go of meanwhile
            return
        self._written[uid] = status
        self._conditions[uid] = made.conditions

    def _check_pause(self) -> None:
        left_s = self._paused_until - self._clock.monotonic()
        if left_s > 0:
            text = "cannot write a status: the API server asked for a pause"
            raise errors.Throttled(text, reason="TooManyRequests", after_s=left_s)

    async def _write(self, uid: ids.PodUid) -> None:
        if self._is_fresh(uid):
            self._workers.poke_later(uid, _SETTLE_S)
            return
        self._doubt(uid)
        try:
            await self.write_now(uid)
        except errors.Throttled as error:
            self._workers.poke_later(uid, error.after_s)
        except errors.NodeError as error:
            log.warning("Writing the status of a pod: %s", error)
            self._write_later(uid)
        except Exception:  # one pod's trouble, a field or a bug, is not the node's
            wanted = self._wanted.get(uid)
            log.exception("Pod %s: cannot write its status; trying again", wanted and wanted.ref)
            self._write_later(uid)
        else:
            self._pauses.pop(uid, None)
            self._look_at_deadline(uid)

    def _look_at_deadline(self, uid: ids.PodUid) -> None:
        """Have what time alone changes written, too."""
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        at = pods_plan.deadline_at(wanted, seen) if wanted and seen else None
        if at is not None and at > self._clock.now():
            self._workers.poke_later(uid, at - self._clock.now())

    def _write_later(self, uid: ids.PodUid) -> None:
        pause = self._pauses.setdefault(uid, backoff.Backoff(first_s=0.5, most_s=10.0))
        self._workers.poke_later(uid, pause.next_s())

    def _doubt(self, uid: ids.PodUid) -> None:
        """Take a readiness that is not ours, for some time, as not written."""
        if not self._is_overwritten(uid):
            self._doubted.pop(uid, None)
            return
        now = self._clock.now()
        if now - self._doubted.setdefault(uid, now) < _DOUBT_S:
            self._workers.poke_later(uid, _DOUBT_S)
        else:
            self._written.pop(uid, None)
            self._doubted.pop(uid)

    def _is_overwritten(self, uid: ids.PodUid) -> bool:
        wanted = self._wanted.get(uid)
        if wanted is None or wanted.finished:
            return False
        ours = {each.type: each.status for each in self._conditions.get(uid, ())}
        return any(
            each.type in _READINESS and each.status != ours.get(each.type, each.status)
            for each in wanted.status.conditions
        )

    def _is_fresh(self, uid: ids.PodUid) -> bool:
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None or wanted.refusals or wanted.deleting:
            return False
        if seen.rejected or seen.evicted:
            return False
        untold = all(
            each.current is None and each.failing is None for each in seen.containers.values()
        )
        return untold and seen.started_at + _SETTLE_S > self._clock.now()
