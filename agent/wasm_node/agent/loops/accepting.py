"""
Readiness to the workers that serve HTTP: who is ready takes connections.

Pods of one owner share a port; the runtime gives a connection to one of those
that accept. A worker begins by not accepting. It is told when the readiness of
its container changes, again where that failed, and by each new agent, which
cannot know what the one before has said.
"""

import logging
from collections.abc import Mapping

from wasm_node.agent import errors, interfaces
from wasm_node.agent.asynckit import keyed
from wasm_node.agent.model import ids
from wasm_node.agent.plan import order, probes
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

log = logging.getLogger(__name__)

_PARALLEL = 32
_RETRY_S = 1.0


class Accepting:
    """Tells workers whether to accept; `run` works until cancelled."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        workers: interfaces.HttpWorkers,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._workers = workers
        self._told: dict[ids.PodUid, Mapping[records.AttemptId, bool]] = {}
        self._telling = keyed.KeyedWorkers(self._tell, limit=_PARALLEL)
        wanted.listen(self._look)
        seen.listen(self._look)

    def __repr__(self) -> str:
        """Show how many attempts have been told."""
        return f"<Accepting {sum(len(each) for each in self._told.values())} told>"

    async def run(self) -> None:
        """Work until cancelled."""
        await self._telling.run()

    def _look(self, uid: ids.PodUid) -> None:
        if self._ready(uid) != self._told.get(uid, {}):
            self._telling.poke(uid)

    def _ready(self, uid: ids.PodUid) -> dict[records.AttemptId, bool]:
        """Return whether each attempt that runs is ready."""
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None:
            return {}
        return {
            now.id: probes.is_ready(each, seen.container(each.name), wanted.status)
            for each, now in order.running(wanted, seen)
        }

    async def _tell(self, uid: ids.PodUid) -> None:
        before, now = self._told.pop(uid, {}), self._ready(uid)
        told = {attempt: ready for attempt, ready in before.items() if attempt in now}
        for attempt, ready in now.items():
            if told.get(attempt) is ready:
                continue
            try:
                await self._workers.set_accepting(attempt, accepting=ready)
            except errors.NodeError as error:
                log.warning("%s; trying again", error)
                told.pop(attempt, None)  # it may have heard
                self._telling.poke_later(uid, _RETRY_S)
            else:
                told[attempt] = ready
        if told:
            self._told[uid] = told
