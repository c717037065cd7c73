"""
The record of all versions that pods had, straight from the API server.

It goes on where a broken watch left off. If the API server no longer has what
came after that, all pods are listed: what is gone then is noted as gone.
"""

import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from e2e import following
from e2e.chaos import recording
from e2e.cluster import Access, api
from e2e.watching import Pod


class ApiRecord(following.Follower):
    """Records the pods of one namespace while it is a context."""

    def __init__(self, plane: Access, namespace: str) -> None:
        super().__init__(plane.admin, "record of the API")
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._lock = threading.Lock()
        self._versions: list[recording.Version] = []
        self._last: dict[str, Pod] = {}
        self._since = ""
        """The version of what came last; empty: all is to be listed."""

    def versions(self) -> tuple[recording.Version, ...]:
        """Return all versions so far, in the order in which they came."""
        with self._lock:
            return tuple(self._versions)

    def pods(self) -> Mapping[str, Pod]:
        """Return the pods that are there, by uid."""
        with self._lock:
            return dict(self._last)

    def _follow(self) -> None:
        try:
            self._since = self._since or self._list()
            self._watch()
        except api.Refused as error:
            if error.status == HTTPStatus.GONE:
                self._since = ""
            raise

    def _list(self) -> str:
        found = self._api.get(self._path)
        there = {each["metadata"]["uid"] for each in found["items"]}
        for uid, pod in self.pods().items():
            if uid not in there:
                self._take("DELETED", pod)
        for each in found["items"]:
            self._take("LISTED", each)
        return str(found["metadata"]["resourceVersion"])

    def _watch(self) -> None:
        query = f"?watch=true&allowWatchBookmarks=true&resourceVersion={self._since}"
        with self._opened(self._path + query) as stream:
            for event in stream:
                if event["type"] == "ERROR":
                    self._since = ""
                    return
                self._since = str(event["object"]["metadata"]["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], event["object"])

    def _take(self, kind: str, pod: dict[str, Any]) -> None:
        with self._lock:
            if kind == "DELETED":
                self._last.pop(pod["metadata"]["uid"], None)
            else:
                self._last[pod["metadata"]["uid"]] = pod
            self._versions.append(recording.version(time.monotonic(), kind, pod))
