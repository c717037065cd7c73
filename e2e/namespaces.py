"""
A namespace of its own for a test, on a cluster with one wasm node.

What tests say to the cluster goes through kubectl, as a user would; what they
wait for comes from the watcher.
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from e2e import pods, watching
from e2e.cluster import ControlPlane, WasmNode, api, wait_until

_WITHIN_S = 30.0


@dataclass(frozen=True)
class Bed:
    """A control plane with its wasm node and a watcher."""

    plane: ControlPlane
    node: WasmNode
    watcher: watching.PodWatcher

    @contextlib.contextmanager
    def namespace(self) -> Iterator["Namespace"]:
        """Give a new namespace; all in it is deleted afterwards."""
        name = f"test-{secrets.token_hex(4)}"
        self.plane.kubectl("create", "namespace", name)
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"

        def has_account() -> bool:
            with contextlib.suppress(api.Refused):
                return bool(self.plane.admin.get(account))
            return False

        # Controllers come back half a minute after their API server.
        wait_until(has_account, f"the service account of {name}", within_s=3 * _WITHIN_S)
        try:
            yield Namespace(name, self)
        finally:
            words = ("delete", "--ignore-not-found", "--wait=false")
            self.plane.kubectl(*words, "namespace", name)
            # Guests that would use their whole grace have nothing to finish.
            self.plane.kubectl(*words, "pods", "--all", f"-n={name}", "--grace-period=1")


@contextlib.contextmanager
def alone(plane: ControlPlane, node: WasmNode) -> Iterator[Bed]:
    """Give a bed of a node that only some tests need; then it goes."""
    with watching.PodWatcher(plane) as watcher:
        yield Bed(plane, node, watcher)
    node.agent.terminate(within_s=10)
    node.runtime.terminate(within_s=20)
    plane.kubectl("delete", "node", node.name)


@dataclass(frozen=True)
class Namespace:
    """One namespace and what a test does in it."""

    name: str
    bed: Bed

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl in this namespace; see `Access.kubectl`."""
        return self.bed.plane.kubectl(f"--namespace={self.name}", *words, stdin=stdin)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Have kubectl apply objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def get(self, path: str) -> Any:
        """Read from the API server, below this namespace: `pods/NAME`, ..."""
        return self.bed.plane.admin.get(f"/api/v1/namespaces/{self.name}/{path}")

    def log(self, pod: str, **query: object) -> str:
        """Read a pod's log through the API server, without kubectl."""
        return str(self.get(f"pods/{pod}/log?{urlencode(query)}"))

    def events(self, reason: str) -> list[str]:
        """List the messages of the events that have this reason."""
        found = self.get(f"events?fieldSelector=reason={reason}")["items"]
        return [str(each["message"]) for each in found]

    def wait_event(self, reason: str, message: str) -> None:
        """Return once an event says so: a node writes them after statuses."""
        wait_until(
            lambda: message in self.events(reason),
            f"{message!r} among the events {reason} of {self.name}",
            within_s=_WITHIN_S,
        )

    def history(self, pod: str) -> list[watching.Seen]:
        """List all versions of a pod until now, as the watcher saw them."""
        self._catch_up()
        return self.bed.watcher.history(self.name, pod)

    def names(self) -> set[str]:
        """Return the name of every pod that has been here until now."""
        self._catch_up()
        return self.bed.watcher.names(self.name)

    def wait(
        self,
        pod: str,
        what: str,
        condition: Callable[[watching.Seen], object],
        *,
        within_s: float = _WITHIN_S,
    ) -> watching.Seen:
        """Return the first version of a pod that meets a condition."""
        return self.bed.watcher.wait(self.name, pod, what, condition, within_s=within_s)

    def wait_over(self, pod: str, *, within_s: float = _WITHIN_S) -> watching.Pod:
        """Return the pod once it has ended."""
        return self.wait(pod, "the end", pods.is_over, within_s=within_s).pod

    def wait_running(self, pod: str, *, within_s: float = _WITHIN_S) -> watching.Pod:
        """Return the pod once its container runs."""
        return self.wait(pod, "a running container", pods.is_running, within_s=within_s).pod

    def wait_waiting(self, pod: str, *, within_s: float = _WITHIN_S) -> watching.Pod:
        """Return the pod once its container waits with a reason."""
        return self.wait(pod, "a reason to wait", pods.is_waiting, within_s=within_s).pod

    def wait_gone(self, pod: str, *, within_s: float = _WITHIN_S) -> watching.Seen:
        """Return the last version of a pod, once it is gone."""
        return self.wait(pod, "the removal", pods.is_gone, within_s=within_s)

    def _catch_up(self) -> None:
        """Wait for a watcher that is behind: kubectl may have heard first."""
        known = self.bed.watcher.names(self.name)  # NB: first, or a new one counts as gone
        listed = {
            each["metadata"]["name"]: int(each["metadata"]["resourceVersion"])
            for each in self.get("pods")["items"]
        }
        for name, version in listed.items():
            self.wait(name, f"version {version}", pods.is_as_new_as(version))
        for name in known - listed.keys():
            self.wait_gone(name)
