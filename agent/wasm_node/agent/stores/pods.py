"""
The two stores: what is wanted and what is.

Each has one writer (`loops.watch`; `loops.facts` with `loops.reconcile`) and
gives out frozen values. They hold no policy. Loops meet only here: a change
calls the listeners with the pod's uid, and they look for themselves.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Sequence

from wasm_node.agent.model import desired, ids, observed

Listener = Callable[[ids.PodUid], None]


class DesiredStore:
    """Wanted pods by uid."""

    def __init__(self) -> None:
        self._pods: dict[ids.PodUid, desired.DesiredPod] = {}
        self._listeners: list[Listener] = []
        self.listed = asyncio.Event()
        """Set once a full list has been seen; nothing is reaped before."""

    def __iter__(self) -> Iterator[desired.DesiredPod]:
        """Iterate over a snapshot."""
        return iter(tuple(self._pods.values()))

    def listen(self, listener: Listener) -> None:
        """Call `listener(uid)` after every change."""
        self._listeners.append(listener)

    def get(self, uid: ids.PodUid) -> desired.DesiredPod | None:
        """Return the pod, if it is wanted or was until now."""
        return self._pods.get(uid)

    def put(self, pod: desired.DesiredPod) -> None:
        """Take the newest version of one pod."""
        self._pods[pod.ref.uid] = pod
        self._tell(pod.ref.uid)

    def replace(self, pods: Sequence[desired.DesiredPod]) -> None:
        """
        Take a full list.

        A pod that is not on it vanished from its source: it is kept as one
        being deleted at once, until it is forgotten.
        """
        present = {each.ref.uid for each in pods}
        for each in pods:
            self.put(each)
        for each in self:
            if each.ref.uid not in present and not each.gone:
                self.put(each.vanished())
        self.listed.set()

    def drop(self, uid: ids.PodUid) -> None:
        """Let go of a pod of which nothing is left."""
        self._pods.pop(uid, None)

    def _tell(self, uid: ids.PodUid) -> None:
        for listener in self._listeners:
            listener(uid)


class ObservedStore:
    """Observed pods by uid."""

    def __init__(self) -> None:
        self._pods: dict[ids.PodUid, observed.ObservedPod] = {}
        self._listeners: list[Listener] = []
        self.listed = asyncio.Event()
        """Set once the runtime has said what runs; nothing starts before."""

    def __iter__(self) -> Iterator[ids.PodUid]:
        """Iterate over a snapshot of the uids."""
        return iter(tuple(self._pods))

    def listen(self, listener: Listener) -> None:
        """Call `listener(uid)` after every change."""
        self._listeners.append(listener)

    def get(self, uid: ids.PodUid) -> observed.ObservedPod | None:
        """Return what is known of the pod."""
        return self._pods.get(uid)

    def put(self, uid: ids.PodUid, pod: observed.ObservedPod) -> None:
        """Take what is now known of one pod."""
        if self._pods.get(uid) == pod:
            return
        self._pods[uid] = pod
        for listener in self._listeners:
            listener(uid)

    def change(
        self,
        uid: ids.PodUid,
        container: str,
        change: Callable[[observed.ObservedContainer], observed.ObservedContainer],
    ) -> None:
        """Replace what is known of one container of a known pod."""
        pod = self._pods.get(uid)
        if pod is None or pod.forgotten:
            return
        self.put(uid, pod.changed(container, change))

    def forget(self, uid: ids.PodUid) -> None:
        """Note that nothing is left; late facts change that no more."""
        pod = self._pods.get(uid)
        if pod is not None:
            self.put(uid, dataclasses.replace(pod, containers={}, forgotten=True))

    def drop(self, uid: ids.PodUid) -> None:
        """Let go of a pod of which nothing is left."""
        self._pods.pop(uid, None)
