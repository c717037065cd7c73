"""
The pods of this node, watched: list, then watch with bookmarks, for ever.

Field-selected by node name, as the Node authorizer demands of a node. A watch
that ends is taken up where it was; a gap (410, or an error in the stream) is
a new list, in which vanished pods are noticed by their absence.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.asynckit import backoff
from wasm_node.agent.kube import client, watching
from wasm_node.agent.model import desired, objects, parsing

log = logging.getLogger(__name__)


_PAGE = "500"
_AT_ONCE = 20
"""So many pods of a list are parsed before others have their turn: that takes a
few milliseconds, and a tenth of a second for a page."""
_AUTHORIZER_TRIES = 6


class ApiPods:
    """PodSource over the API server."""

    def __init__(self, api: client.Api, node_name: str) -> None:
        self._api = api
        self._selector = {"fieldSelector": f"spec.nodeName={node_name}"}
        self._version = ""

    async def changes(self) -> AsyncIterator[Sequence[desired.DesiredPod] | desired.DesiredPod]:
        """Yield a full list first and after every gap, then single pods."""
        pause = backoff.Backoff(first_s=0.2, most_s=10.0)
        while True:
            try:
                if not self._version:
                    yield await self._list()
                async for pod in self._watch():
                    pause.reset()
                    yield pod
                continue  # the server ends a watch now and then: go on where it was
            except client.Expired:
                self._version = ""
            except errors.NodeError as error:
                log.warning("Watching pods: %s", error)
            await asyncio.sleep(pause.next_s())

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """Return the keys of a ConfigMap or Secret; None: there is none."""
        plural = {"ConfigMap": "configmaps", "Secret": "secrets"}[kind]
        try:
            read = await self._read(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
        except errors.NotFound:
            return None
        return objects.data(kind, read)

    async def _read(self, path: str) -> Mapping[str, Any]:
        """
        Read what a pod names.

        NB: a node may read it once the Node authorizer has seen the pod; the
        authorizer watches too, and may lag behind us.
        """
        pause = backoff.Backoff(first_s=0.1, most_s=1.0)
        for _ in range(_AUTHORIZER_TRIES):
            with contextlib.suppress(client.Forbidden):
                return await self._api.call("GET", path)
            await asyncio.sleep(pause.next_s())
        return await self._api.call("GET", path)

    async def _list(self) -> Sequence[desired.DesiredPod]:
        found: list[desired.DesiredPod] = []
        page: dict[str, str] = {"limit": _PAGE}
        while True:
            read = await self._api.call("GET", "/api/v1/pods", query=self._selector | page)
            for number, each in enumerate(read.get("items") or ()):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                if pod := _parse(each):
                    found.append(pod)
            meta = read["metadata"]
            if not meta.get("continue"):
                self._version = str(meta["resourceVersion"])
                return found
            page["continue"] = meta["continue"]

    async def _watch(self) -> AsyncIterator[desired.DesiredPod]:
        query = self._selector | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
        }
        async for line in self._api.lines("/api/v1/pods", query):
            event = watching.event(line)
            if event.type == "ERROR":
                # Whatever it is, what follows is not known: list again.
                raise client.Expired(str(event.object.get("message")), reason="Expired")
            if event.type != "BOOKMARK" and (pod := _parse(event.object)):
                yield pod.vanished() if event.type == "DELETED" else pod
            self._version = str(event.object["metadata"]["resourceVersion"])


def _parse(raw: Mapping[str, Any]) -> desired.DesiredPod | None:
    try:
        try:
            return parsing.pod(raw)
        except errors.BadInput as error:
            return parsing.outline(raw, str(error))
    except errors.BadInput as error:
        meta = raw.get("metadata", {})
        log.error("Pod %s/%s: %s", meta.get("namespace"), meta.get("name"), error)
        return None
