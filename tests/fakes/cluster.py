"""An API server's end of our interfaces, in memory: small, typed, obedient."""

import asyncio
import copy
import itertools
from collections.abc import Mapping
from typing import Any, Self

from wasm_node.agent import errors
from wasm_node.agent.model import actions, ids, manifest, parsing, times


class FakeSink:
    """
    StatusSink that keeps what it is given.

    Attributes:
        writes: in order.
        removed: in order; what is here is not found any more.
        fail_next: how many of the next writes cannot reach the API server.
        bugs: names of pods whose writes raise what nobody expects.
        gate: writes wait for it.
        at_once: how many writes were ever under way at the same time.
        pause_s: the next write is told to come again after that.
    """

    def __init__(self) -> None:
        self.at_once = 0
        self.pause_s = 0.0
        self._under_way = 0
        self.writes: list[tuple[ids.PodRef, Mapping[str, Any]]] = []
        self.removed: list[ids.PodRef] = []
        self.fail_next = 0
        self.bugs: set[str] = set()
        self.gate: asyncio.Event | None = None

    async def write(self, pod: ids.PodRef, status: Mapping[str, Any]) -> None:
        """Keep the status."""
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self._under_way -= 1
        if self.pause_s:
            after_s, self.pause_s = self.pause_s, 0.0
            raise errors.Throttled("too many requests", reason="TooMany", after_s=after_s)
        if self.fail_next > 0:
            self.fail_next -= 1
            raise errors.Retryable("cannot reach the API server", reason="APIUnavailable")
        if pod.name in self.bugs:
            raise ZeroDivisionError
        if pod in self.removed:
            raise errors.NotFound(f"pod {pod} not found", reason="NotFound")
        self.writes.append((pod, status))

    async def remove(self, pod: ids.PodRef) -> None:
        """Remember the removal."""
        self.removed.append(pod)

    def phases(self) -> list[str]:
        """Return the phases written, in order."""
        return [str(status["phase"]) for _, status in self.writes]


class FakeEvents:
    """
    Events in lists: of pods, and of the node.

    Attributes:
        emitted: of pods, in order.
        noted: of the node, in order.
        busy: whether any is to be taken for not told yet.
    """

    def __init__(self) -> None:
        self.busy = False
        self.emitted: list[tuple[ids.PodRef, actions.Event]] = []
        self.noted: list[actions.Event] = []

    def emit(self, pod: ids.PodRef, event: actions.Event) -> None:
        """Keep the event."""
        self.emitted.append((pod, event))

    def note(self, event: actions.Event) -> None:
        """Keep an event of the node."""
        self.noted.append(event)

    def reasons(self) -> list[str]:
        """Return the reasons of events of pods, in order."""
        return [event.reason for _, event in self.emitted]

    def told(self, name: str) -> list[tuple[str, str]]:
        """Return reasons and messages of one pod's events, in order."""
        return [(said.reason, said.message) for pod, said in self.emitted if pod.name == name]


class FakeNode:
    """
    NodeObject and OwnNode in memory.

    Attributes:
        node: the Node; None: there is none.
        lease: its Lease; None: there is none.
        answers: False is an API server that is away.
        refused: how often it was asked then.
        gate: while it is not set, writes of the status wait.
        renewals: how often the Lease was made or renewed.
        statuses: as patched, in order.
    """

    def __init__(self) -> None:
        self.node: dict[str, Any] | None = None
        self.lease: dict[str, Any] | None = None
        self.answers = True
        self.refused = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.renewals = 0
        self.statuses: list[Mapping[str, Any]] = []
        self._known: dict[str, Any] | None = None
        self._uids = itertools.count(1)
        self._versions = itertools.count(1)

    @classmethod
    def standing(cls, *taints: Mapping[str, str], **labels: str) -> Self:
        """Give one of which the Node is there, with these taints and labels."""
        made = cls()
        meta = {"name": "wasm-a", "uid": "n0", "labels": labels}
        made.node = {"metadata": meta, "spec": {"taints": [*taints]}}
        return made

    async def get(self) -> dict[str, Any] | None:
        """Return the Node as it is now."""
        self._check()
        self._known = copy.deepcopy(self.node)
        return self._known

    async def read(self, *, fresh: bool) -> manifest.Node:
        """Return the Node as it was read last, or as it is now."""
        found = self._known if self._known and not fresh else await self.get()
        if found is None:
            raise errors.NotFound("node not found", reason="NotFound")
        return parsing.node(found)

    async def create(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the Node and give it a uid."""
        self._check()
        if self.node is not None:
            raise errors.NodeError("the node exists already", reason="AlreadyExists")
        given = {"uid": f"n{next(self._uids)}", "resourceVersion": str(next(self._versions))}
        self.node = {**copy.deepcopy(dict(node)), "metadata": {**node["metadata"], **given}}
        return copy.deepcopy(self.node)

    async def patch(self, change: Mapping[str, Any]) -> None:
        """Merge labels and annotations, if it is the version that was meant."""
        meta = self._found()["metadata"]
        if change["metadata"].get("resourceVersion") not in {None, meta["resourceVersion"]}:
            raise errors.NodeError("the node has changed meanwhile", reason="Conflict")
        meta["resourceVersion"] = str(next(self._versions))
        for name in ("labels", "annotations"):
            merged = meta.get(name, {}) | change["metadata"].get(name, {})
            meta[name] = {key: value for key, value in merged.items() if value is not None}

    async def patch_status(self, status: Mapping[str, Any]) -> None:
        """Keep the status; conditions merge by type."""
        await self.gate.wait()
        before = self._found().get("status", {})
        conditions = {
            each["type"]: each
            for each in (*before.get("conditions", ()), *status.get("conditions", ()))
        }
        self.statuses.append(status)
        self._found()["status"] = {**before, **status, "conditions": list(conditions.values())}

    async def renewed(self) -> str:
        """Say what the Lease says."""
        self._check()
        return str(self.lease["spec"]["renewTime"]) if self.lease is not None else ""

    async def renew_lease(self, node_uid: str, duration_s: int, now: float) -> None:
        """Count, and keep what is said."""
        self._check()
        self.renewals += 1
        spec = {
            "holderIdentity": self._found()["metadata"]["name"],
            "leaseDurationSeconds": duration_s,
            "renewTime": times.rfc3339_micro(now),
        }
        if self.lease is None:
            owner = {"kind": "Node", "name": spec["holderIdentity"], "uid": node_uid}
            self.lease = {
                "metadata": {"ownerReferences": [owner]},
                "spec": {"acquireTime": spec["renewTime"]},
            }
        self.lease = {**self.lease, "spec": {**self.lease["spec"], **spec}}

    def _check(self) -> None:
        if not self.answers:
            self.refused += 1
            raise errors.Retryable("cannot reach the API server", reason="APIUnavailable")

    def _found(self) -> dict[str, Any]:
        self._check()
        if self.node is None:
            raise errors.NotFound("node not found", reason="NotFound")
        return self.node
