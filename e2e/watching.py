"""
A watcher of all pods: the API server's own story, seen from outside.

It shares nothing with the node but the API server, keeps every version that
it is told of with the time of its arrival, and lets a test wait for one. A
watch that breaks (the API server went away) is begun anew; what then arrives
is the state as it is by then.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e import following
from e2e.cluster import Access, Failed

Pod = dict[str, Any]
"""A Pod as decoded JSON."""


@dataclass(frozen=True)
class Seen:
    """One version of a pod: `at` is of time.monotonic, `type` of the watch."""

    at: float
    type: str
    pod: Pod


class PodWatcher(following.Follower):
    """Watches the pods of all namespaces while it is a context."""

    def __init__(self, plane: Access) -> None:
        super().__init__(plane.admin, "pod watcher")
        self._news = threading.Condition()
        self._seen: dict[tuple[str, str], list[Seen]] = {}

    def history(self, namespace: str, name: str) -> list[Seen]:
        """List all versions of a pod that have been seen, oldest first."""
        with self._news:
            return list(self._seen.get((namespace, name), ()))

    def names(self, namespace: str) -> set[str]:
        """Return the name of every pod that was ever in a namespace."""
        with self._news:
            return {name for where, name in self._seen if where == namespace}

    def wait(
        self,
        namespace: str,
        name: str,
        what: str,
        condition: Callable[[Seen], object],
        *,
        within_s: float,
    ) -> Seen:
        """
        Return the first version, past or coming, that meets a condition.

        Raises:
            Failed: none did in time; the text has the last version's status.
        """
        deadline = time.monotonic() + within_s
        looked_at = 0
        with self._news:
            while True:
                seen = self._seen.get((namespace, name), [])
                for each in seen[looked_at:]:
                    if condition(each):
                        return each
                looked_at = len(seen)
                if not self._news.wait(deadline - time.monotonic()):
                    last = f"{seen[-1].type} {seen[-1].pod['status']}" if seen else "nothing"
                    raise Failed(
                        f"cannot see {what} of pod {namespace}/{name} within {within_s} s; "
                        f"seen last: {last}"
                    )

    def _follow(self) -> None:
        with self._opened("/api/v1/pods?watch=true") as stream:
            for event in stream:
                if event["type"] == "ERROR":
                    break
                self._take(event)

    def _take(self, event: dict[str, Any]) -> None:
        meta = event["object"]["metadata"]
        with self._news:
            versions = self._seen.setdefault((meta["namespace"], meta["name"]), [])
            versions.append(Seen(time.monotonic(), event["type"], event["object"]))
            self._news.notify_all()
