"""
Events about what guests wanted of the network and may not have.

The runtime tells each target once (the container's log has it, too). What was
there before this agent was, the one before it has told.
"""

from wasm_node.agent import interfaces
from wasm_node.agent.model import actions, desired, grants, ids, observed
from wasm_node.agent.stores import pods
from wasm_node.protocol import records


class Denials:
    """Looks at each change of what is observed."""

    def __init__(
        self, wanted: pods.DesiredStore, seen: pods.ObservedStore, events: interfaces.Events
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._events = events
        self._told: dict[ids.PodUid, dict[records.AttemptId, int]] = {}
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
        before = self._told.get(uid, {}).get(current.id, 0)
        self._told.setdefault(uid, {})[current.id] = len(current.denied)
        if pod is None or not self._seen.listed.is_set():
            return
        for each in current.denied[before:]:
            name = current.id.container
            said = f"Container {name} was denied {each.words}: {grants.advice(each.what)}"
            event = actions.Event("NetworkDenied", said, warning=True, container=name)
            self._events.emit(pod.ref, event)
