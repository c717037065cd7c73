"""
Pods without an API server: the source and sink of `wasm-node run`.

Keeps what an API server would keep, in memory: the wanted pods, their
statuses, and who waits for a change.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.files import manifests
from wasm_node.agent.model import desired, ids

_STARTING = "ContainerCreating"
_PASSING = (_STARTING, "PodInitializing", "CrashLoopBackOff")


class LocalPods:
    """PodSource and StatusSink in one."""

    def __init__(self) -> None:
        self._wanted: dict[ids.PodUid, desired.DesiredPod] = {}
        self._objects: manifests.Objects = {}
        self._statuses: dict[ids.PodUid, Mapping[str, Any]] = {}
        self._news: asyncio.Queue[desired.DesiredPod] = asyncio.Queue()
        self._changed = asyncio.Condition()

    def apply(self, found: manifests.Manifests) -> None:
        """Want these pods beside those wanted already."""
        self._objects = {**self._objects, **found.objects}
        for pod in found.pods:
            self._wanted[pod.ref.uid] = pod
            self._news.put_nowait(pod)

    def delete(self, uid: ids.PodUid, *, grace_s: float | None = None) -> None:
        """Have a pod end; `grace_s` None is the pod's own grace."""
        pod = self._wanted.get(uid)
        if pod is not None:
            self._news.put_nowait(pod.ending(pod.grace_s if grace_s is None else grace_s))

    async def changes(self) -> AsyncIterator[Sequence[desired.DesiredPod] | desired.DesiredPod]:
        """Yield the empty list, then pods as they are applied or deleted."""
        yield ()
        while True:
            yield await self._news.get()

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """Return the keys of a ConfigMap or Secret; None: there is none."""
        return self._objects.get((namespace, kind, name))

    async def write(self, pod: ids.PodRef, status: Mapping[str, Any]) -> None:
        """Keep the status and wake who waits for it."""
        if pod.uid not in self._wanted:
            raise errors.NotFound(f"there is no pod {pod} any more", reason="NotFound")
        async with self._changed:
            self._statuses[pod.uid] = status
            self._changed.notify_all()

    async def remove(self, pod: ids.PodRef) -> None:
        """Forget the pod and wake who waits for that."""
        async with self._changed:
            found = self._wanted.pop(pod.uid, None)
            if found is not None:
                self._news.put_nowait(found.vanished())
            self._changed.notify_all()

    def status(self, uid: ids.PodUid) -> Mapping[str, Any] | None:
        """Return a pod's status, empty at first; None: there is no such pod."""
        return self._statuses.get(uid, {}) if uid in self._wanted else None

    async def over(self, uid: ids.PodUid) -> Mapping[str, Any]:
        """Return the last status of a pod once it has ended or is removed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_over(uid))
            return self._statuses.get(uid, {})

    async def removed(self, uid: ids.PodUid) -> None:
        """Return once nothing of the pod is left."""
        async with self._changed:
            await self._changed.wait_for(lambda: uid not in self._wanted)

    async def begun(self, uid: ids.PodUid, container: str, attempt: int) -> bool:
        """Return True once the attempt has begun; False: it never will."""

        def has_begun() -> bool:
            status = self._container(uid, container)
            return bool(status.get("containerID")) and status["restartCount"] >= attempt

        async with self._changed:
            await self._changed.wait_for(lambda: has_begun() or self._is_over(uid))
            return has_begun()

    async def stuck(self, uid: ids.PodUid) -> None:
        """Return once a container waits for something that it does not get."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: any(
                    each["state"].get("waiting", {}).get("reason", _STARTING) not in _PASSING
                    for each in self._containers(uid)
                )
            )

    def _is_over(self, uid: ids.PodUid) -> bool:
        phase = self._statuses.get(uid, {}).get("phase")
        return uid not in self._wanted or phase in ("Succeeded", "Failed")

    def _container(self, uid: ids.PodUid, name: str) -> Mapping[str, Any]:
        return next((each for each in self._containers(uid) if each["name"] == name), {})

    def _containers(self, uid: ids.PodUid) -> list[Mapping[str, Any]]:
        status = self._statuses.get(uid, {})
        return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
