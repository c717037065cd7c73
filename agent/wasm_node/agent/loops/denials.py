"""
Events about what guests wanted of the network and may not have.

The runtime tells each target once (the container's log has it, too; of a
command in a container, its own standard error). What was there before this
agent was, the one before it has told.
"""

import logging

from wasm_node.agent import interfaces
from wasm_node.agent.model import actions, desired, grants, ids, observed
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

log = logging.getLogger(__name__)


class Denials:
    """Looks at each change of what is observed."""

    def __init__(
        self, wanted: pods.DesiredStore, seen: pods.ObservedStore, events: interfaces.Events
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._events = events
        self._told: dict[ids.PodUid, dict[records.AttemptId, set[records.Denial]]] = {}
        seen.listen(self._look)

    def _look(self, uid: ids.PodUid) -> None:
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if seen is None or seen.forgotten:
            self._told.pop(uid, None)
            return
        for each in seen.containers.values():
            if each.current is not None and each.current.denied:
                self._tell(wanted, uid, each.current)

    def _tell(
        self, pod: desired.DesiredPod | None, uid: ids.PodUid, current: observed.Fact
    ) -> None:
        # NB: a runtime that begins anew has forgotten what of commands it told.
        told = self._told.setdefault(uid, {}).setdefault(current.id, set())
        new = [each for each in current.denied if each not in told]
        told.update(new)
        if pod is None or not self._seen.listed.is_set():
            return
        for each in new:
            name = current.id.container
            who = f"Command {each.command} in container {name}"
            who = who if each.command else f"Container {name}"
            said = f"{who} was denied {each.words}: {grants.advice(each.what)}"
            log.info("Pod %s: %s", pod.ref, said)
            event = actions.Event("NetworkDenied", said, warning=True, container=name)
            self._events.emit(pod.ref, event)
