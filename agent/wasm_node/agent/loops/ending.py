"""
The last steps of a pod of which nothing runs any more.

Part of `loops.reconcile`. NB the order: the final status before the object
goes (its watchers see how it ended), the object before the records (so that a
crash in between finds them again), the records before we forget it ourselves.
"""

import asyncio
import logging

from wasm_node.agent import interfaces, statedir
from wasm_node.agent.loops import write_status
from wasm_node.agent.model import desired, ids
from wasm_node.agent.stores import pods

log = logging.getLogger(__name__)


class Ender:
    """Removes all traces of pods."""

    def __init__(
        self,
        statuses: write_status.StatusWriter,
        sink: interfaces.StatusSink,
        containers: interfaces.Containers,
        logs: interfaces.LogStore,
        directory: statedir.StateDir,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
    ) -> None:
        self._statuses = statuses
        self._sink = sink
        self._containers = containers
        self._logs = logs
        self._directory = directory
        self._wanted = wanted
        self._seen = seen

    async def end(self, pod: desired.DesiredPod) -> None:
        """
        Report, remove and forget; safe to repeat.

        Raises:
            NodeError: one step failed; the earlier ones are done.
        """
        if not pod.gone:
            await self._statuses.write_last(pod.ref.uid)
            await self._sink.remove(pod.ref)
        await self._containers.forget(pod.ref.uid)
        await asyncio.to_thread(self._logs.remove, pod.ref)
        await asyncio.to_thread(self._directory.remove_pod, pod.ref.uid)
        self._seen.forget(pod.ref.uid)
        log.info("Pod %s (%s) is gone", pod.ref, pod.ref.uid)

    def drop(self, uid: ids.PodUid) -> None:
        """Let go of a pod that its source no longer knows either."""
        self._statuses.drop(uid)
        self._seen.drop(uid)
        self._wanted.drop(uid)
