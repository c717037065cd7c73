"""
The node's own signs of life: registration, Lease, status.

The Lease has a task of its own and shares nothing with pods: a node must not
go NotReady because something else takes long. The Node object may be deleted
by others at any time; the next round makes it again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import actions
from wasm_node.agent.model import host as host_model
from wasm_node.agent.plan import node as planning

log = logging.getLogger(__name__)

LEASE_S = 40
_RENEW_S = 10.0
_STATUS_S = 10.0
_REPORT_S = 300.0
_RETRY_S = 1.0


class NodeObject(Protocol):
    """The Node and Lease of this node in the API server."""

    async def get(self) -> dict[str, Any] | None:
        """Return the Node as decoded JSON; None: there is none."""

    async def create(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Create the Node and return it."""

    async def patch(self, change: Mapping[str, Any]) -> None:
        """Patch metadata and spec."""

    async def patch_status(self, status: Mapping[str, Any]) -> None:
        """Patch the status; NotFound: somebody deleted the Node."""

    async def renew_lease(self, node_uid: str, duration_s: int, now: float) -> None:
        """Renew the Lease; make it where there is none."""


class Heartbeat:
    """
    Keeps the Node registered, its Lease renewed and its status true.

    As long as `health` cannot tell (None), a Node that is there keeps the
    status that it has: an agent that restarts is no change.
    """

    def __init__(
        self,
        node: NodeObject,
        identity: planning.Identity,
        host: Callable[[], host_model.Figures],
        health: Callable[[], planning.Health | None],
        events: interfaces.Events,
        clock: interfaces.Clock,
    ) -> None:
        self._node = node
        self._identity = identity
        self._host = host
        self._health = health
        self._events = events
        self._clock = clock
        self._uid = ""
        self._changed = asyncio.Event()

    def look_again(self) -> None:
        """Have the status looked at now: health may have changed."""
        self._changed.set()

    async def register(self) -> None:
        """
        Create the Node, or take over the one that is ours.

        Tried until it works; cancelled by whoever stops waiting.

        Raises:
            GaveUp: a Node of this name exists and is not a wasm node.
        """
        while True:
            try:
                await self._register()
            except errors.GaveUp:
                raise
            except errors.NodeError as error:
                log.warning("Registering the node: %s", error)
                await self._clock.sleep(_RETRY_S)
            else:
                self._events.note(actions.Event("Starting", "Starting wasm-node."))
                return

    async def _register(self) -> None:
        found = await self._node.get()
        if found is None:
            host = await asyncio.to_thread(self._host)
            now = self._clock.now()
            health = self._health() or planning.Health("the runtime has not been heard of yet")
            made = planning.new(self._identity, host, health, now)
            found = await self._node.create(made)
            self._tell({}, made["status"])
            log.info("Registered as node %s", self._identity.name)
        elif not planning.is_ours(found):
            raise errors.GaveUp(
                f"cannot register as node {self._identity.name}: a node of that name exists and "
                "is not a wasm node; choose another nodeName, or delete it if it is a leftover",
                reason="NodeNameTaken",
            )
        else:
            await self._node.patch({"metadata": {"labels": planning.labels(self._identity)}})
        self._uid = str(found["metadata"]["uid"])

    async def renew(self) -> None:
        """Renew the Lease until cancelled; nothing else happens here."""
        while True:
            try:
                await self._node.renew_lease(self._uid, LEASE_S, self._clock.now())
            except errors.NodeError as error:
                log.warning("Renewing the lease: %s", error)
                await self._clock.sleep(_RETRY_S)
            else:
                await self._clock.sleep(_RENEW_S)

    async def report(self) -> None:
        """Write status and labels, when they changed and now and then."""
        written: dict[str, Any] = {}
        reported_at = 0.0
        while True:
            self._changed.clear()  # NB: before we look, so that no change falls in between
            try:
                found = await self._node.get()
                if found is None:
                    log.warning("Node %s was deleted: registering again", self._identity.name)
                    await self._register()
                    continue
                host = await asyncio.to_thread(self._host)
                if labels := planning.worlds(found, host.room):
                    await self._node.patch({"metadata": {"labels": labels}})
                conditions = found.get("status", {}).get("conditions") or ()
                previous = {each["type"]: each for each in conditions}
                made = self._status(host, previous)
                if made is not None and (
                    self._clock.now() - reported_at >= _REPORT_S
                    or planning.differs(made, written)
                    or planning.is_denied(made, previous)
                ):
                    await self._node.patch_status(made)
                    self._tell(previous, made)
                    written, reported_at = made, self._clock.now()
            except errors.NodeError as error:
                log.warning("Reporting the node's status: %s", error)
            await self._pause()

    def _tell(self, held: Mapping[str, Mapping[str, Any]], made: Mapping[str, Any]) -> None:
        for each in planning.events(self._identity.name, held, made):
            self._events.note(each)

    def _status(
        self, host: host_model.Figures, previous: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        health = self._health()
        if health is None:
            return None
        return planning.status(self._identity, host, health, previous, self._clock.now())

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_STATUS_S):
                await self._changed.wait()
        except TimeoutError:
            return
