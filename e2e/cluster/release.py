"""
The chart, installed by helm as a user would install it.

One release is one pool of wasm nodes. What a test changes of it goes through
values; what it looks at comes from the API server.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from e2e.cluster import api, binaries, processes
from e2e.cluster.access import Access
from e2e.cluster.registry import Registry

_CHART = Path(__file__).parents[2] / "charts/wasm-node"
_WITHIN_S = 120.0


class Host(Protocol):
    """A host of a wasm node, as far as a release goes."""

    @property
    def name(self) -> str:
        """Of its own Node."""

    @property
    def root(self) -> Path:
        """Where its file system is to be seen."""

    def processes(self, name: str) -> set[int]:
        """Return the pids, as we see them, of those whose name begins so."""


class Cluster(Protocol):
    """Where the chart can be installed."""

    @property
    def directory(self) -> Path:
        """Of what belongs to the cluster here."""

    @property
    def plane(self) -> Access:
        """The way into it."""

    @property
    def registry(self) -> Registry:
        """What its pods pull from."""

    @property
    def hosts(self) -> Sequence[Host]:
        """Those that get a wasm node."""

    @property
    def repository(self) -> str:
        """The name of wasm-node's own image there."""

    @property
    def tag(self) -> str:
        """The tag of that image."""


@dataclass(frozen=True)
class Release:
    """
    A release of the chart, installed or not.

    Attributes:
        hosts: the cluster.
        name: of the release and of its namespace.
        node_name: the value `nodeName`, what a host's wasm node is called.
        values: further values, on top of what leads to the hosts' registry.
    """

    hosts: Cluster
    name: str = "wasm-node"
    node_name: str = "wasm-{host}"
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        """The names of its wasm nodes."""
        return [self.node_name.replace("{host}", host.name) for host in self.hosts.hosts]

    @property
    def environment(self) -> dict[str, str]:
        """Variables that keep what helm remembers within the test bed."""
        folder = self.hosts.directory / "helm"
        kinds = ("CACHE", "CONFIG", "DATA")
        return {f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in kinds}

    def install(self) -> None:
        """
        Install it and return when its own pods and its Nodes are Ready.

        Raises:
            CalledProcessError: helm refused; its message is in the note.
            Failed: a Node was not Ready in time.
        """
        self.helm("install", *self._chart(), "--create-namespace", "--wait")
        self.wait_ready()

    def upgrade(self, *words: str) -> None:
        """Apply the values anew, and `words` for helm on top of them."""
        self.helm("upgrade", *self._chart(), *words)

    def uninstall(self) -> None:
        """Remove it, and its namespace, which helm leaves."""
        self.helm("uninstall", self.name, "--wait")
        self.hosts.plane.kubectl("delete", "namespace", self.name)

    def pods(self, component: str) -> list[dict[str, Any]]:
        """List its pods that are not being deleted: `agent`, `runtime`, ..."""
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        path = f"/api/v1/namespaces/{self.name}/pods?{urlencode({'labelSelector': labels})}"
        items = self.hosts.plane.admin.get(path)["items"]
        return [each for each in items if "deletionTimestamp" not in each["metadata"]]

    def pod(self, component: str, host: str) -> dict[str, Any]:
        """
        Give its one pod of a component on a host.

        Raises:
            LookupError: there is none, or a second one for an upgrade.
        """
        found = [each for each in self.pods(component) if each["spec"].get("nodeName") == host]
        if len(found) != 1:
            raise LookupError(f"cannot choose a pod of {component} on {host}: {len(found)} there")
        return found[0]

    def log(self, pod: dict[str, Any]) -> str:
        """Read what the container of one of its pods has said last."""
        path = f"/api/v1/namespaces/{self.name}/pods/{pod['metadata']['name']}/log"
        try:
            return str(self.hosts.plane.admin.get(path))
        except api.Refused:  # it has no container yet
            return ""

    def wait_ready(self) -> None:
        """Return when all its Nodes are Ready."""
        for node in self.nodes:
            processes.wait_until(
                functools.partial(self.hosts.plane.node_is_ready, node),
                f"node {node} Ready",
                within_s=_WITHIN_S,
            )

    def helm(self, *words: str) -> str:
        """
        Run helm in the release's namespace and return what it prints.

        Raises:
            CalledProcessError: it failed; its message is in the note.
        """
        return processes.printed_by(
            [binaries.helm() / "helm", f"--namespace={self.name}", *words],
            {**self.hosts.plane.environment, **self.environment},
        )

    def _chart(self) -> list[str]:
        registry = self.hosts.registry.address
        values = {
            "image": {"repository": self.hosts.repository, "tag": self.hosts.tag},
            "nodeName": self.node_name,
            "agent": {"settings": {"insecureRegistries": [registry]}},
        }
        file = self.hosts.directory / f"values-{self.name}.json"
        file.write_text(json.dumps(values))  # JSON is YAML
        own = self.hosts.directory / f"values-{self.name}-own.json"
        own.write_text(json.dumps(self.values))
        return [self.name, str(_CHART), f"--values={file}", f"--values={own}"]
