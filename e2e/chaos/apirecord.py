"""
The record of all versions that pods had, straight from the API server.

It goes on where a broken watch left off. If the API server no longer has what
came after that, all pods are listed: what is gone then is noted as gone.
"""

import http.client
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

from e2e.chaos import recording
from e2e.cluster import Access, api
from e2e.watching import Pod


class ApiRecord:
    """Records the pods of one namespace while it is a context."""

    def __init__(self, plane: Access, namespace: str) -> None:
        self._api = plane.admin
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._lock = threading.Lock()
        self._versions: list[recording.Version] = []
        self._last: dict[str, Pod] = {}
        self._stream: api.Stream | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._record, name="record of the API")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if (stream := self._stream) is not None:
            stream.interrupt()
        self._thread.join()

    def versions(self) -> tuple[recording.Version, ...]:
        """Return all versions so far, in the order in which they came."""
        with self._lock:
            return tuple(self._versions)

    def pods(self) -> Mapping[str, Pod]:
        """Return the pods that are there, by uid."""
        with self._lock:
            return dict(self._last)

    def _record(self) -> None:
        since = ""
        while not self._over.is_set():
            try:
                since = since or self._list()
                since = self._watch(since)
            except (OSError, http.client.HTTPException, ValueError, api.Refused) as error:
                if getattr(error, "status", None) == HTTPStatus.GONE:
                    since = ""
                self._over.wait(0.1)  # between two tries; nothing depends on its length

    def _list(self) -> str:
        found = self._api.get(self._path)
        there = {each["metadata"]["uid"] for each in found["items"]}
        for uid, pod in self.pods().items():
            if uid not in there:
                self._take("DELETED", pod)
        for each in found["items"]:
            self._take("LISTED", each)
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, since: str) -> str:
        query = f"?watch=true&allowWatchBookmarks=true&resourceVersion={since}"
        with self._api.stream(self._path + query) as stream:
            self._stream = stream
            try:
                for event in stream:
                    if event["type"] == "ERROR":
                        return ""
                    since = str(event["object"]["metadata"]["resourceVersion"])
                    if event["type"] != "BOOKMARK":
                        self._take(event["type"], event["object"])
            except (OSError, http.client.HTTPException, ValueError):
                return since
        return since

    def _take(self, kind: str, pod: dict[str, Any]) -> None:
        with self._lock:
            if kind == "DELETED":
                self._last.pop(pod["metadata"]["uid"], None)
            else:
                self._last[pod["metadata"]["uid"]] = pod
            self._versions.append(recording.version(time.monotonic(), kind, pod))
