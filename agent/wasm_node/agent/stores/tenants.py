"""
The pods that have a place on this node, and what they have of it together.

It follows from the two stores, whose changes it hears of. (What they drop in
silence has no place any more: nothing is left of it.) Each pod that comes is
held against all that are there; their sums are kept, since summed anew for each
they would cost a burst of pods its square. They are of whole numbers: nothing
is lost by adding and taking away.
"""

from collections.abc import Callable, Iterator

from wasm_node.agent.model import desired, ids, observed, requests, taken
from wasm_node.agent.stores import pods


class Tenants:
    """
    Pods by uid, each once, with their sums.

    `has_place` decides who is one; of a pod that is not observed yet, too.
    """

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        has_place: Callable[[desired.DesiredPod, observed.ObservedPod | None], bool],
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._has_place = has_place
        self._reserved: dict[ids.PodUid, desired.DesiredPod] = {}
        self._pods: dict[ids.PodUid, desired.DesiredPod] = {}
        self._asks = requests.NOTHING
        self._ports: dict[taken.PortKey, dict[ids.PodUid, list[taken.Held]]] = {}
        wanted.listen(self._look)
        seen.listen(self._look)
        for each in wanted:
            self._look(each.ref.uid)

    def __iter__(self) -> Iterator[desired.DesiredPod]:
        """Iterate over a snapshot, in the order in which they came."""
        return iter(tuple(self._pods.values()))

    def reserve(self, pod: desired.DesiredPod) -> None:
        """Give one a place that has none by itself yet, until `release`."""
        self._reserved[pod.ref.uid] = pod
        self._look(pod.ref.uid)

    def release(self, pod: desired.DesiredPod) -> None:
        """Leave it the place that it has by itself, if any."""
        del self._reserved[pod.ref.uid]
        self._look(pod.ref.uid)

    def beside(self, pod: desired.DesiredPod) -> taken.Taken:
        """Return what all others have, in as little time for any number."""
        itself = self._pods.get(pod.ref.uid)
        ports = [
            each
            for key in dict.fromkeys(map(taken.key, pod.host_ports()))
            for uid, ports in self._ports.get(key, {}).items()
            for each in ports
            if uid != pod.ref.uid
        ]
        if itself is None:
            return taken.Taken(len(self._pods), self._asks, ports)
        return taken.Taken(len(self._pods) - 1, self._asks - itself.asks, ports)

    def _look(self, uid: ids.PodUid) -> None:
        """Have a pod counted as it is now, or not any more."""
        before, now = self._pods.get(uid), self._tenant(uid)
        if before is now:
            return
        if before is not None:
            self._subtract(before)
        if now is None:
            del self._pods[uid]
        else:
            self._pods[uid] = now
            self._add(now)

    def _tenant(self, uid: ids.PodUid) -> desired.DesiredPod | None:
        if reserved := self._reserved.get(uid):
            return reserved
        wanted = self._wanted.get(uid)
        if wanted is None or not self._has_place(wanted, self._seen.get(uid)):
            return None
        return wanted

    def _add(self, pod: desired.DesiredPod) -> None:
        self._asks += pod.asks
        for each in taken.held(pod):
            ports = self._ports.setdefault(taken.key(each.port), {})
            ports.setdefault(pod.ref.uid, []).append(each)

    def _subtract(self, pod: desired.DesiredPod) -> None:
        self._asks -= pod.asks
        for key in {taken.key(each) for each in pod.host_ports()}:
            ports = self._ports[key]
            del ports[pod.ref.uid]
            if not ports:
                del self._ports[key]
