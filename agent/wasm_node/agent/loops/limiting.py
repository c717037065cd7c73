"""
Storage limits: pods that use more of the disk than their manifests allow go.

All decisions are `plan.evictions`. How full the node is has no part in it; that
is the loop `evicting`. It looks as often as a kubelet, at one pod after another
and at those alone that have such a limit; then it rests for as long as that
took, so that guests with many files cannot keep the runtime busy.
"""

import logging
from collections.abc import Callable

from wasm_node.agent import interfaces
from wasm_node.agent.loops import expelling, weighing
from wasm_node.agent.model import desired, ids, observed
from wasm_node.agent.plan import evictions as planning
from wasm_node.agent.stores import pods

log = logging.getLogger(__name__)

_REST_S = 10.0
"""evictionMonitoringPeriod."""


class Limiting:
    """
    Ends pods for their own limits; `run` works until cancelled.

    `evicted` is told of each.
    """

    def __init__(
        self,
        resources: interfaces.Resources,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        expeller: expelling.Expeller,
        logs: interfaces.LogStore,
        clock: interfaces.Clock,
        evicted: Callable[[ids.PodUid], None],
    ) -> None:
        self._resources = resources
        self._wanted = wanted
        self._seen = seen
        self._expeller = expeller
        self._logs = logs
        self._clock = clock
        self._evicted = evicted
        self._partial: set[ids.PodUid] = set()
        """Pods of which it was said that they have too much to look at."""

    async def run(self) -> None:
        """Look, and act, until cancelled."""
        await self._seen.listed.wait()
        while True:
            began = self._clock.monotonic()
            try:
                await self.look()
            except Exception:  # a bug here must not cost the node
                log.exception("Storage limits: cannot go on; trying again")
            await self._clock.sleep(max(_REST_S, self._clock.monotonic() - began))

    async def look(self) -> None:
        """Look at each pod with such limits once."""
        limited = [each for each in self._wanted if self._is_limited(each)]
        self._partial &= {each.ref.uid for each in limited}
        for each in limited:
            weighed = await weighing.on_disk(each, self._resources, self._logs)
            over = planning.over_limit(weighed)
            if over is not None:
                await self._evict(each.ref, over)
            elif weighed.volumes is not None and not weighed.is_whole:
                self._tell_partial(each.ref)

    def _is_limited(self, wanted: desired.DesiredPod) -> bool:
        seen = self._seen.get(wanted.ref.uid)
        if seen is None or seen.forgotten:
            return False
        return planning.is_limited(wanted, seen, self._clock.now())

    async def _evict(self, pod: ids.PodRef, over: planning.OverLimit) -> None:
        wanted = self._wanted.get(pod.uid)
        if wanted is None or not self._is_limited(wanted):
            return  # it has ended well while it was looked at
        grace_s, now = planning.HARD_GRACE_S, self._clock.now()
        evicted = observed.Evicted(over.message, grace_s, now, disruption=None)
        if await self._expeller.expel(pod, evicted, over.signal):
            self._evicted(pod.uid)

    def _tell_partial(self, pod: ids.PodRef) -> None:
        if pod.uid not in self._partial:
            self._partial.add(pod.uid)
            log.warning("Pod %s has more files than can be looked at: it may be over a limit", pod)
