"""
Events of pods and of the node, on a queue that never holds up anything else.

Lossy by design: a full queue drops the oldest, and one that cannot be written
is dropped. `correlating` says which are told at all, and which only count up.
"""

import asyncio
import collections
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from wasm_node.agent import errors, interfaces
from wasm_node.agent.kube import client, correlating
from wasm_node.agent.model import actions, ids, times

log = logging.getLogger(__name__)

_QUEUE = 5000
_PAUSE_S = 1 / 50
"""At most 50 a second, as a kubelet (eventRecordQPS)."""
_PATIENCE_S = 5.0
"""So long an event lets statuses go first."""
_CALM_S = 0.1
_MESSAGE_BYTES = 1000


class ApiEvents:
    """
    Events over the API server; `run` writes what `emit` queued.

    While `busy` says that more important writes wait, events wait, too.
    `field` names the container's place in its pod's spec.
    """

    def __init__(
        self,
        api: client.Api,
        node_name: str,
        clock: interfaces.Clock,
        *,
        busy: Callable[[], bool],
        field: Callable[[ids.PodRef, str], str],
    ) -> None:
        self._api = api
        self._busy = busy
        self._field = field
        self._node_name = node_name
        self._clock = clock
        self._node = ids.NodeRef(node_name)
        self._queue: collections.deque[tuple[float, correlating.About, actions.Event]] = (
            collections.deque(maxlen=_QUEUE)
        )
        self._waiting = asyncio.Event()
        self._correlator = correlating.Correlator()

    @property
    def busy(self) -> bool:
        """Whether any waits to be written or is on its way."""
        return self._waiting.is_set()

    def emit(self, pod: ids.PodRef, event: actions.Event) -> None:
        """Queue one event; never waits, never fails."""
        self._put(pod, event)

    def note(self, event: actions.Event) -> None:
        """Queue one event of the node itself; likewise."""
        self._put(self._node, event)

    def _put(self, about: correlating.About, event: actions.Event) -> None:
        self._queue.append((self._clock.now(), about, event))
        self._waiting.set()

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            await self._waiting.wait()
            while self._queue:
                at, about, event = self._queue.popleft()
                telling = self._correlator.take(about, event, now=at)
                if telling is None:
                    continue
                while self._busy() and self._clock.now() - at < _PATIENCE_S:
                    await self._clock.sleep(_CALM_S)
                try:
                    await self._write(about, *telling, at)
                except errors.NodeError as error:
                    log.debug("Dropped an event: %s", error)
                await self._clock.sleep(_PAUSE_S)
            self._waiting.clear()

    async def _write(
        self, about: correlating.About, event: actions.Event, series: correlating.Series, at: float
    ) -> None:
        path = f"/api/v1/namespaces/{_namespace(about)}/events"
        if series.name:
            body = {
                "count": series.count,
                "lastTimestamp": times.rfc3339(at),
                "message": event.message[:_MESSAGE_BYTES],
            }
            try:
                await self._api.call(
                    "PATCH", f"{path}/{series.name}", body=body, content_type=client.MERGE
                )
            except errors.NotFound:  # the API server keeps events for an hour
                series.name = ""
            else:
                return
        digest = hashlib.sha256(f"{about}{event}{at}".encode()).hexdigest()[:16]
        name = f"{about.name[:230]}.{digest}"
        await self._api.call("POST", path, body=self._object(about, event, series, name, at))
        series.name = name

    def _object(
        self,
        about: correlating.About,
        event: actions.Event,
        series: correlating.Series,
        name: str,
        at: float,
    ) -> dict[str, Any]:
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": _namespace(about)},
            "involvedObject": self._involved(about, event.container),
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:_MESSAGE_BYTES],
            "source": {"component": "wasm-node", "host": self._node_name},
            "reportingComponent": "wasm-node",
            "reportingInstance": self._node_name,
            "firstTimestamp": times.rfc3339(series.first),
            "lastTimestamp": times.rfc3339(at),
            "count": series.count,
        }

    def _involved(self, about: correlating.About, container: str) -> dict[str, str]:
        if isinstance(about, ids.NodeRef):
            # As a kubelet: the name for uid. `kubectl describe` looks for it.
            return {"kind": "Node", "apiVersion": "v1", "name": about.name, "uid": about.name}
        involved = {
            "kind": "Pod", "apiVersion": "v1",
            "namespace": about.namespace, "name": about.name, "uid": about.uid,
        }  # fmt: skip
        if container:
            involved["fieldPath"] = f"spec.{self._field(about, container)}{{{container}}}"
        return involved


def _namespace(about: correlating.About) -> str:
    """Return where its events are; a node has no namespace of its own."""
    return about.namespace if isinstance(about, ids.PodRef) else "default"
