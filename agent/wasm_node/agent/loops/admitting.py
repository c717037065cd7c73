"""
Taking pods in that come to this node, or not.

What the Node says is known as of the last heartbeat. That may be old: a label
may have been set, or a taint removed, right before the pod was bound. So no
pod is rejected for it before the Node was read once more, and as long as it
cannot be read, the pod waits: what has Failed is never run any more.

Pods that come together share that read. One that had begun before a pod came
does not count for it: it may not see what was set in between.
"""

from collections.abc import Callable, Iterator

from wasm_node.agent import interfaces
from wasm_node.agent.asynckit import singleflight
from wasm_node.agent.model import desired, environment, manifest, observed, times
from wasm_node.agent.plan import admission, evictions
from wasm_node.agent.stores import pods


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
        clock: interfaces.Clock,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._node = node
        self._allocatable = allocatable
        self._pressures = pressures
        self._is_ending = is_ending
        self._clock = clock
        self._reads: singleflight.SingleFlight[bool, manifest.Node] = singleflight.SingleFlight()

    async def take_in(self, pod: desired.DesiredPod) -> observed.Rejected | None:
        """
        Make a pod that is not known yet one that is; return why it has Failed.

        It may wait as long as the API server makes it wait, twice.

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
            read = self._node.read
            known = await self._reads.do(False, lambda: read(fresh=False))
            rejected = self._judge(pod, known)
            if rejected and admission.is_by_node(rejected):
                now = await self._reads.do_anew(True, lambda: read(fresh=True))
                rejected = self._judge(pod, now)
        # NB: nothing is awaited since it was judged: what comes meanwhile
        # would be given the same room.
        self._seen.put(pod.ref.uid, observed.ObservedPod(self._clock.now(), rejected=rejected))
        return rejected

    def _judge(self, pod: desired.DesiredPod, on: manifest.Node) -> observed.Rejected | None:
        allocatable = self._allocatable()
        if allocatable is None:
            return None
        rejected = evictions.admit(pod, self._pressures())
        rejected = rejected or admission.admit(pod, self._taken_in(), allocatable, on)
        return rejected or admission.at_shutdown(ending=self._is_ending())

    def _taken_in(self) -> Iterator[desired.DesiredPod]:
        for each in self._wanted:
            seen = self._seen.get(each.ref.uid)
            if each.status.start_time or (seen and not seen.rejected):
                yield each
