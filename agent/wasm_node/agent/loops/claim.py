"""
One agent per node name, whatever host or directory it runs on.

Each state directory has an identity of its own, which its agent writes on the
Node (annotation `wasm-node.dev/state-directory`). An agent that finds another
one's there waits until that one's Lease has stopped moving, as client-go's
leader election does: by our own clock, from the change that we saw last. An
agent that finds its name taken over ends, and its successor waits in turn. So
two never act for one Node, and none needs the other's clock or goodwill.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from wasm_node.agent import errors, interfaces
from wasm_node.agent.loops import heartbeat

log = logging.getLogger(__name__)

HOLDER = "wasm-node.dev/state-directory"
_LOOK_S = 2.0


class SharedNode(heartbeat.NodeObject, Protocol):
    """The Node and its Lease, which others may act for."""

    async def renewed(self) -> str:
        """
        Return when the Lease was renewed last; empty: there is none.

        Raises:
            NodeError: it cannot be read now.
        """


class ClaimedNode:
    """
    NodeObject of one agent; another's is waited for, and never written to.

    Attributes:
        node: the Node itself.
        holder: identity of our state directory.
    """

    def __init__(self, node: SharedNode, holder: str, clock: interfaces.Clock) -> None:
        self._lost = asyncio.Event()
        self._node = node
        self._holder = holder
        self._clock = clock

    async def claim(self, stand_by: Callable[[str], None]) -> None:
        """
        Return when the name is ours; `stand_by` is told if that takes time.

        A Node that is not there, or is not a wasm node, is claimed by nobody:
        registering says what becomes of it.
        """
        seen = ""
        since = self._clock.now()
        while True:
            try:
                found = await self._node.get()
                other = _holder(found)
                if found is None or other in {"", self._holder}:
                    return
                renewed = await self._node.renewed()
                if not renewed or (
                    renewed == seen and self._clock.now() - since >= heartbeat.LEASE_S
                ):
                    log.warning("Taking the node over from state directory %s", other)
                    await self._take(found)
                    return
                if renewed != seen:
                    if not seen:
                        stand_by(f"another agent (state directory {other}) acts for this node")
                    seen, since = renewed, self._clock.now()
            except errors.NodeError as error:
                log.warning("Asking who acts for this node: %s", error)
            await self._clock.sleep(_LOOK_S)

    async def watch(self) -> None:
        """
        Return never.

        Raises:
            GaveUp: another agent has taken the name over.
        """
        await self._lost.wait()
        raise _taken_over()

    async def get(self) -> dict[str, Any] | None:
        """
        Return the Node.

        Raises:
            GaveUp: it is another agent's by now.
        """
        found = await self._node.get()
        if _holder(found) not in {"", self._holder}:
            self._lost.set()
            raise _taken_over()
        return found

    async def create(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Create the Node as ours."""
        meta = node["metadata"]
        annotations = {**meta.get("annotations", {}), HOLDER: self._holder}
        return await self._node.create({**node, "metadata": {**meta, "annotations": annotations}})

    async def patch(self, change: Mapping[str, Any]) -> None:
        """Patch the Node, which is ours."""
        meta = change.get("metadata", {})
        annotations = {**meta.get("annotations", {}), HOLDER: self._holder}
        await self._node.patch({**change, "metadata": {**meta, "annotations": annotations}})

    async def patch_status(self, status: Mapping[str, Any]) -> None:
        """Patch its status."""
        await self._node.patch_status(status)

    async def renew_lease(self, node_uid: str, duration_s: int, now: float) -> None:
        """Renew its Lease, unless that is another's by now."""
        if not self._lost.is_set():
            await self._node.renew_lease(node_uid, duration_s, now)

    async def _take(self, found: Mapping[str, Any]) -> None:
        meta = {
            "resourceVersion": found["metadata"]["resourceVersion"],  # or somebody else did
            "annotations": {HOLDER: self._holder},
        }
        await self._node.patch({"metadata": meta})


def _taken_over() -> errors.GaveUp:
    return errors.GaveUp(
        "cannot go on as this node: another agent has taken its name over; "
        "if both are to run, they need two node names",
        reason="NodeTakenOver",
    )


def _holder(node: Mapping[str, Any] | None) -> str:
    annotations = (node or {}).get("metadata", {}).get("annotations") or {}
    return str(annotations.get(HOLDER, ""))
