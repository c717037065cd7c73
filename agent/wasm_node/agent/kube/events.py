"""
Events of pods, on a queue that never holds up anything else.

Lossy by design: a full queue drops the oldest, and one that cannot be written
is dropped. Repeats of the same event within a while only count up, as
client-go's correlator does.
"""

import asyncio
import collections
import dataclasses
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from wasm_node.agent import errors, interfaces
from wasm_node.agent.kube import client
from wasm_node.agent.model import actions, ids, times

log = logging.getLogger(__name__)

_QUEUE = 5000
_PAUSE_S = 1 / 50
"""At most 50 a second, as a kubelet (eventRecordQPS)."""
_PATIENCE_S = 5.0
"""So long an event lets statuses go first."""
_CALM_S = 0.1
_REMEMBERED = 4096
_MESSAGE_BYTES = 1000


@dataclasses.dataclass
class _Series:
    name: str
    count: int
    first: float


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
        self._queue: collections.deque[tuple[float, ids.PodRef, actions.Event]] = collections.deque(
            maxlen=_QUEUE
        )
        self._waiting = asyncio.Event()
        self._seen: collections.OrderedDict[tuple[object, ...], _Series] = collections.OrderedDict()

    def emit(self, pod: ids.PodRef, event: actions.Event) -> None:
        """Queue one event; never waits, never fails."""
        self._queue.append((self._clock.now(), pod, event))
        self._waiting.set()

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            await self._waiting.wait()
            while self._queue:
                queued_at, pod, event = self._queue.popleft()
                while self._busy() and self._clock.now() - queued_at < _PATIENCE_S:
                    await self._clock.sleep(_CALM_S)
                try:
                    await self._write(pod, event)
                except errors.NodeError as error:
                    log.debug("Dropped an event: %s", error)
                await self._clock.sleep(_PAUSE_S)
            self._waiting.clear()

    async def _write(self, pod: ids.PodRef, event: actions.Event) -> None:
        now = self._clock.now()
        key = (pod, event)
        series = self._seen.get(key)
        path = f"/api/v1/namespaces/{pod.namespace}/events"
        if series is not None:
            series.count += 1
            body = {"count": series.count, "lastTimestamp": times.rfc3339(now)}
            try:
                await self._api.call(
                    "PATCH", f"{path}/{series.name}", body=body, content_type=client.MERGE
                )
            except errors.NotFound:
                del self._seen[key]
            else:
                return
        digest = hashlib.sha256(f"{key}{now}".encode()).hexdigest()[:16]
        series = _Series(name=f"{pod.name[:230]}.{digest}", count=1, first=now)
        await self._api.call("POST", path, body=self._object(pod, event, series))
        self._seen[key] = series
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _object(self, pod: ids.PodRef, event: actions.Event, series: _Series) -> dict[str, Any]:
        at = times.rfc3339(series.first)
        involved = {
            "kind": "Pod", "apiVersion": "v1",
            "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
        }  # fmt: skip
        if event.container:
            involved["fieldPath"] = f"spec.{self._field(pod, event.container)}{{{event.container}}}"
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": series.name, "namespace": pod.namespace},
            "involvedObject": involved,
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:_MESSAGE_BYTES],
            "source": {"component": "wasm-node", "host": self._node_name},
            "reportingComponent": "wasm-node",
            "reportingInstance": self._node_name,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
