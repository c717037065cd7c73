"""
Telling pods that they have to go, for good, whatever the reason.

That a pod was evicted is on disk before it is told to end: an agent that is
killed in between must not start it again. A disk without room even for that
must not keep the pod that fills it: then it is told all the same, and noted as
soon as there is room.
"""

import asyncio
import dataclasses
import logging

from wasm_node.agent import interfaces
from wasm_node.agent.model import actions, ids, observed
from wasm_node.agent.plan import evictions, preemption
from wasm_node.agent.stores import checkpoint, pods

log = logging.getLogger(__name__)

_OVERDUE = "Container runtime did not kill the pod within specified grace period."


class Expeller:
    """Tells pods to go; all loops that do share one."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        kept: checkpoint.Checkpoints,
        events: interfaces.Events,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._kept = kept
        self._events = events
        self._unkept: set[ids.PodRef] = set()
        """Told to go, and there was no room to note it."""
        self.evictions: dict[str, float] = dict.fromkeys(evictions.SIGNALS, 0.0)
        """How many were evicted, by what for."""
        self.preemptions: dict[str, float] = dict.fromkeys(preemption.SIGNALS, 0.0)
        """How many had to make room for a critical pod, by what it lacked."""

    async def expel(self, ref: ids.PodRef, evicted: observed.Evicted, signal: str) -> bool:
        """
        Have a pod end; say whether it was told so now.

        `signal`: what for, as it is counted.

        Not one that has gone meanwhile, or was told before: that stays true.
        """
        before = self._seen.get(ref.uid)
        if before is None or before.evicted is not None:
            return False
        await self._keep(ref, before, evicted)
        after = self._seen.get(ref.uid)
        if after is None or after.forgotten or after.evicted is not None:
            return False
        log.warning("%s pod %s (%s): %s", evicted.reason, ref, ref.uid, evicted.message)
        self._events.emit(ref, actions.Event(evicted.reason, evicted.message, warning=True))
        self._seen.put(ref.uid, dataclasses.replace(after, evicted=evicted))
        is_preempted = evicted.reason == preemption.REASON
        (self.preemptions if is_preempted else self.evictions)[signal] += 1
        return True

    def overdue(self, ref: ids.PodRef) -> None:
        """Tell that it should have ended by now (killPodNow)."""
        self._events.emit(ref, actions.Event("ExceededGracePeriod", _OVERDUE, warning=True))

    async def keep_rest(self) -> None:
        """Put on disk what there was no room for; not of pods that go."""
        for ref in tuple(self._unkept):
            seen, wanted = self._seen.get(ref.uid), self._wanted.get(ref.uid)
            goes = wanted is None or wanted.deleting or seen is None or seen.forgotten
            if goes or seen is None or seen.evicted is None:
                self._unkept.discard(ref)
            else:
                await self._keep(ref, seen, seen.evicted)

    async def _keep(
        self, ref: ids.PodRef, known: observed.ObservedPod, evicted: observed.Evicted
    ) -> None:
        """Put it on disk, now or when there is room; the first one stays."""
        try:
            await asyncio.to_thread(
                self._kept.change,
                ref,
                known,
                lambda kept: dataclasses.replace(kept, evicted=kept.evicted or evicted),
            )
        except OSError as error:
            if ref not in self._unkept:
                log.warning("Eviction of pod %s cannot be noted on disk yet: %s", ref, error)
            self._unkept.add(ref)
        else:
            self._unkept.discard(ref)
