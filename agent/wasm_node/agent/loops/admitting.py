"""
Taking pods in that come to this node, or not.

What the Node says is known as of the last heartbeat. That may be old: a label
may have been set, or a taint removed, right before the pod was bound. So no
pod is rejected for it before the Node was read once more, and as long as it
cannot be read, the pod waits: what has Failed is never run any more. Nor has
any other pod to end for one that comes before the Node was read again.

Pods that come together share that read. One that had begun before a pod came
does not count for it: it may not see what was set in between.

A critical pod comes in once those that make room for it have ended, or should
have. Its place is taken from the first moment on, before it is worked out who
they are: that is too much for the event loop. Who comes meanwhile and fits
beside all of them is taken in at once; for whom there is no room, waits for
that end, too, and is then looked at again. An agent that is killed in between
leaves evicted pods behind, which the next one counts first.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from wasm_node.agent import errors, interfaces
from wasm_node.agent.asynckit import singleflight
from wasm_node.agent.loops import expelling
from wasm_node.agent.model import desired, environment, ids, manifest, observed, times
from wasm_node.agent.plan import admission, evictions, preemption
from wasm_node.agent.stores import pods, tenants

log = logging.getLogger(__name__)

_LOOK_S = 0.05


class Admitter:
    """
    Says what pods begin as; without a node, any pod is taken in.

    `allocatable`: what pods may use; None, as long as the runtime has not
    said: any pod is taken in. `is_ending`: whether the runtime is about to go.
    """

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        node: interfaces.OwnNode | None,
        allocatable: Callable[[], environment.Allocatable | None],
        pressures: Callable[[], frozenset[str]],
        is_ending: Callable[[], bool],
        expeller: expelling.Expeller,
        clock: interfaces.Clock,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._node = node
        self._allocatable = allocatable
        self._pressures = pressures
        self._is_ending = is_ending
        self._expeller = expeller
        self._clock = clock
        self._reads: singleflight.SingleFlight[bool, manifest.Node] = singleflight.SingleFlight()
        self._coming: desired.DesiredPod | None = None
        """The critical pod for which others end now."""
        self._tenants = tenants.Tenants(wanted, seen, admission.has_place)

    async def take_in(self, pod: desired.DesiredPod) -> observed.Rejected | None:
        """
        Make a pod that is not known yet one that is; return why it has Failed.

        It may wait as long as the API server makes it wait, twice; and, where
        there is no room, as long as pods that have to go take to end.

        One that was here before, an agent has taken in, and one that is over
        or on its way out needs no room.

        Raises:
            NodeError: the Node cannot be read now; to be asked again.
        """
        if told := pod.status.start_time:
            self._seen.put(pod.ref.uid, observed.ObservedPod(times.unix(told)))
            return None
        rejected = None
        if self._node is not None and not (pod.deleting or pod.finished):
            rejected = await self._admit(pod, self._node)
        # NB: nothing is awaited since it was judged: what comes meanwhile
        # would be given the same room.
        self._seen.put(pod.ref.uid, observed.ObservedPod(self._clock.now(), rejected=rejected))
        return rejected

    async def _admit(
        self, pod: desired.DesiredPod, node: interfaces.OwnNode
    ) -> observed.Rejected | None:
        while True:
            found = self._judge(pod, await self._reads.do(False, lambda: node.read(fresh=False)))
            if admission.is_by_node(found):
                found = self._judge(
                    pod, await self._reads.do_anew(True, lambda: node.read(fresh=True))
                )
            if self._coming is None or not admission.is_by_room(found):
                break
            while self._coming is not None and self._is_awaited(pod):
                await self._clock.sleep(_LOOK_S)
            if not self._is_awaited(pod):
                return None
        if not isinstance(found, preemption.Need):
            return found
        if not all(self._seen.get(each.ref.uid) for each in self._tenants):
            text = "nobody ends for it before all pods that were here are known again"
            raise errors.Retryable(text, reason=preemption.REASON)
        if self._is_awaited(pod):
            await self._make_room(pod, found)
        return None

    def _judge(self, pod: desired.DesiredPod, on: manifest.Node) -> admission.Verdict:
        allocatable = self._allocatable()
        if allocatable is None:
            return None
        found: admission.Verdict = evictions.admit(pod, self._pressures())
        if found is None:
            found = self._beside_others(pod, allocatable, on)
        if isinstance(found, observed.Rejected):
            return found
        return admission.at_shutdown(ending=self._is_ending()) or found

    def _beside_others(
        self, pod: desired.DesiredPod, allocatable: environment.Allocatable, on: manifest.Node
    ) -> admission.Verdict:
        found = admission.admit(pod, self._tenants.beside(pod), allocatable, on)
        if not isinstance(found, admission.Lacking):
            return found
        others = [each for each in self._tenants if each.ref.uid != pod.ref.uid]
        return preemption.need(pod, others, found.amounts, self._evicted(others))

    def _evicted(self, pods: Iterable[desired.DesiredPod]) -> frozenset[ids.PodUid]:
        seen = ((each.ref.uid, self._seen.get(each.ref.uid)) for each in pods)
        return frozenset(uid for uid, known in seen if known and known.evicted)

    async def _make_room(self, pod: desired.DesiredPod, need: preemption.Need) -> None:
        """Have pods end for one that is critical, and wait until they have."""
        self._coming = pod
        self._tenants.reserve(pod)
        try:
            going = await asyncio.to_thread(preemption.choose, need)
            signal = next(iter(need.lacking))  # the first, as insufficientResources[0]
            for each in going:
                if not self._is_awaited(pod):
                    return
                if not self._is_here(each):
                    continue  # it has ended meanwhile: that it was done well stays true
                why = observed.Evicted(
                    preemption.MESSAGE,
                    each.grace_s,
                    self._clock.now(),
                    preemption.REASON,
                    preemption.DISRUPTION,
                )
                if await self._expeller.expel(each.ref, why, signal):
                    log.info("Pod %s goes for critical pod %s", each.ref, pod.ref)
            await self._wait_for_ends(pod, going)
        finally:
            self._coming = None
            self._tenants.release(pod)

    async def _wait_for_ends(
        self, pod: desired.DesiredPod, going: Collection[desired.DesiredPod]
    ) -> None:
        until = self._clock.monotonic() + preemption.wait_s(going)
        while self._is_awaited(pod) and (left := [x for x in going if self._is_here(x)]):
            if self._clock.monotonic() >= until:
                for each in left:
                    self._expeller.overdue(each.ref)
                return
            await self._clock.sleep(_LOOK_S)

    def _is_here(self, pod: desired.DesiredPod) -> bool:
        """Say whether anything of a pod runs, as it is wanted now."""
        wanted, seen = self._wanted.get(pod.ref.uid), self._seen.get(pod.ref.uid)
        return wanted is not None and seen is not None and admission.takes_room(wanted, seen)

    def _is_awaited(self, pod: desired.DesiredPod) -> bool:
        """Say whether anybody still wants it to come."""
        wanted = self._wanted.get(pod.ref.uid)
        return wanted is not None and not (wanted.deleting or wanted.finished)
