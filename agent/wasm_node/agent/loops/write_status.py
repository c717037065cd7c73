"""
Statuses to their sink: coalesced per pod, newest wins, in bounded parallel.

A change only marks the pod; what is written is computed when its turn comes,
and not at all if it equals what was written last. A failed write is tried
again with growing waits, with whatever is true by then.
"""

import logging
from typing import Any

from wasm_node.agent import errors, interfaces
from wasm_node.agent.asynckit import backoff, keyed
from wasm_node.agent.model import ids, manifest
from wasm_node.agent.plan import status as planning
from wasm_node.agent.stores import pods

log = logging.getLogger(__name__)

_PARALLEL = 16
_SETTLE_S = 3.0
"""
A pod just seen usually runs within this time: one write instead of two. Till
then it reads Pending, as when it was made; what goes wrong is told at once.
"""


class StatusWriter:
    """Writes statuses; `run` works until cancelled."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        sink: interfaces.StatusSink,
        addresses: planning.Addresses,
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
        self._workers = keyed.KeyedWorkers(self._write, limit=_PARALLEL)
        seen.listen(self._workers.poke)
        wanted.listen(self._workers.poke)

    @property
    def busy(self) -> bool:
        """Whether statuses wait to be written or are on their way."""
        return self._workers.busy

    async def run(self) -> None:
        """Write until cancelled."""
        await self._workers.run()

    def drop(self, uid: ids.PodUid) -> None:
        """Forget a pod."""
        self._written.pop(uid, None)
        self._conditions.pop(uid, None)
        self._pauses.pop(uid, None)

    async def write_now(self, uid: ids.PodUid) -> None:
        """
        Write what is true now, if it was not written yet.

        Raises:
            Retryable: it may go through later.
        """
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None or seen.forgotten or wanted.gone or wanted.finished:
            return
        made = planning.status(
            wanted,
            seen,
            self._addresses,
            previous=self._conditions.get(uid, wanted.status.conditions),
            now=self._clock.now(),
        )
        status = made.to_builtins()
        if status == self._written.get(uid):
            return
        try:
            await self._sink.write(wanted.ref, status)
        except errors.NotFound:
            log.debug("Pod %s is gone from the API server", wanted.ref)
        self._written[uid] = status
        self._conditions[uid] = made.conditions

    async def _write(self, uid: ids.PodUid) -> None:
        if self._is_fresh(uid):
            self._workers.poke_later(uid, _SETTLE_S)
            return
        try:
            await self.write_now(uid)
        except errors.NodeError as error:
            pause = self._pauses.setdefault(uid, backoff.Backoff(first_s=0.5, most_s=10.0))
            log.warning("Writing the status of a pod: %s", error)
            wait_s = error.after_s if isinstance(error, errors.Throttled) else pause.next_s()
            self._workers.poke_later(uid, wait_s)
        else:
            self._pauses.pop(uid, None)

    def _is_fresh(self, uid: ids.PodUid) -> bool:
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None or wanted.refusals or wanted.deleting:
            return False
        untold = all(
            each.current is None and each.failing is None for each in seen.containers.values()
        )
        return untold and seen.started_at + _SETTLE_S > self._clock.now()
