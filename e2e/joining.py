"""
Hosts, agents and the controller of a cluster without kubelets.

The hosts are Nodes, their agents pods of a real DaemonSet whose status a test
writes, as a kubelet would. Controller, remover and agents have the service
accounts, the rights and the settings that the chart gives them, and no more.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from e2e import asking
from e2e.cluster import ControlPlane, Guard, Process, api, binaries, wait_until

NAMESPACE = "wasm-node-ctl"
AGENT, CONTROLLER, REMOVER = "ctl-agent", "ctl-controller", "ctl-uninstall"
RELEASE = f"{NAMESPACE}/{AGENT}"
WITHIN_S = 30.0
TOLERANT = [{"operator": "Exists"}]
_LABELS = {
    "app.kubernetes.io/name": "wasm-node",
    "app.kubernetes.io/instance": "ctl",
    "app.kubernetes.io/component": "agent",
}
_CHART = Path(__file__).parents[1] / "charts" / "wasm-node"
_TEMPLATES = ("agent/rbac", "controller/rbac", "controller/settings", "uninstall/rbac")
_COMMAND = Path(sys.executable).parent / "wasm-node"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@dataclass(frozen=True)
class Joining:
    """
    A control plane with the chart's accounts, and the controller.

    Attributes:
        admin: may do anything.
        process: of the controller.
        health: URL of its probe.
    """

    plane: ControlPlane
    admin: asking.Person
    directory: Path
    process: Process
    health: str
    _guard: Guard
    _settings: Path

    @classmethod
    @contextlib.contextmanager
    def start(cls, guard: Guard, directory: Path, plane: ControlPlane) -> Iterator[Self]:
        """Start the controller; Nodes made meanwhile are gone afterwards."""
        before = nodes(plane)
        admin = asking.Person(plane, plane.kubeconfig)
        port = guard.claim_port()
        settings = directory / "controller.yaml"
        settings.write_text(f"{_prepare(plane, admin)}healthPort: {port}\n")
        try:
            person = _account(plane, directory, CONTROLLER)
            process = _spawn(guard, directory, "controller", person, f"--config={settings}")
            health = f"http://127.0.0.1:{port}/healthz"
            yield cls(plane, admin, directory, process, health, guard, settings)
        finally:
            for name in nodes(plane) - before:
                plane.kubectl("delete", "node", name)
            plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")

    def host(self, name: str) -> asking.Person:
        """Add a host; give who has the token of its agent's pod."""
        made = node(name, "amd64")
        made["metadata"]["labels"] |= {
            "ctl": "host",
            "topology.kubernetes.io/zone": f"zone-of-{name}",
            "topology.kubernetes.io/region": "somewhere",
        }
        create(self.admin, made)
        room = {"pods": "10", "cpu": "1", "memory": "1Gi"}
        status = {"status": {"capacity": room, "allocatable": room}}
        self._patch(f"/api/v1/nodes/{name}/status", status)
        pod = self.pod(name)["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["name"], "uid": pod["uid"]}
        return self.account(AGENT, boundObjectRef=bound)

    def join(self, host: str) -> asking.Person:
        """Add a host, have its agent join, and register the Node."""
        asked = self.host(host).ask(f"join-{host}", f"wasm-{host}")
        person = asked.holder(self.directory / "people")
        create(person, node(f"wasm-{host}", "wasm32-wasi"))
        self.marks(f"wasm-{host}")
        return person

    def account(self, name: str, **spec: object) -> asking.Person:
        """Give who has a new token of a service account."""
        return _account(self.plane, self.directory, name, **spec)

    def pod(self, host: str) -> Any:
        """Read the agent's pod on a host."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods?fieldSelector=spec.nodeName={host}"
        return wait_until(
            lambda: self.plane.admin.get(path)["items"], f"agent on {host}", within_s=WITHIN_S
        )[0]

    def marks(self, name: str) -> Any:
        """Wait for the controller's marks on a Node; return its metadata."""

        def marked() -> Any:
            meta = self.plane.admin.get(f"/api/v1/nodes/{name}")["metadata"]
            return meta if "wasm-node.dev/host" in meta.get("annotations", {}) else None

        return wait_until(marked, f"marks on {name}", within_s=WITHIN_S, alive=[self.process])

    def run_pod(self, name: str, ip: str) -> None:
        """Write of a pod that it runs, and where."""
        status = {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}}
        self._patch(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/status", status)

    def remove_nodes(self, *, drain_s: int) -> str:
        """Run `controller remove-nodes`; return what it says."""
        person = self.account(REMOVER)
        words = ("remove-nodes", f"--config={self._settings}", f"--timeout={drain_s}")
        said = _spawn(self._guard, self.directory, "remover", person, *words)
        said.wait(60)
        return said.log.read_text()

    def _patch(self, path: str, change: dict[str, Any]) -> None:
        self.plane.admin.call("PATCH", path, change, content_type=api.MERGE_PATCH)


def node(name: str, architecture: str) -> dict[str, Any]:
    """Give a Node to create, closed to all pods but those that tolerate it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": architecture}},
        "spec": {"taints": [{"key": "ctl", "effect": "NoSchedule"}]},
    }


def named(
    namespace: str, version: str, kind: str, name: str, spec: object = None
) -> dict[str, Any]:
    """Give an object of a namespace to create."""
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec or {}}


def create(person: asking.Person, *objects: dict[str, Any]) -> None:
    """Have a person create objects."""
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    person.kubectl("create", "-f", "-", stdin=json.dumps(listed))


def nodes(plane: ControlPlane) -> set[str]:
    """Return the names of all Nodes."""
    return {each["metadata"]["name"] for each in plane.admin.get("/api/v1/nodes")["items"]}


def leases(plane: ControlPlane) -> set[str]:
    """Return the names of all Leases of Nodes."""
    return {each["metadata"]["name"] for each in plane.admin.get(_LEASES)["items"]}


def _prepare(plane: ControlPlane, admin: asking.Person) -> str:
    """Make the chart's accounts and rights; return its settings, YAML."""
    create(admin, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    words = [
        *("template", "ctl", str(_CHART), f"--namespace={NAMESPACE}"),
        f"--kube-version={plane.admin.get('/version')['gitVersion']}",
        *("--set=fullnameOverride=ctl", "--set=controller.staleAfterSeconds=1"),
        *(f"--show-only=templates/{each}.yaml" for each in _TEMPLATES),
    ]
    rendered = subprocess.run(
        [binaries.helm() / "helm", *words], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    admin.kubectl("create", "-f", "-", stdin=rendered)
    template = {
        "metadata": {"labels": _LABELS},
        "spec": {
            "serviceAccountName": AGENT,
            "terminationGracePeriodSeconds": 0,  # nobody is there to use it
            "tolerations": TOLERANT,
            "nodeSelector": {"ctl": "host"},
            "containers": [{"name": "agent", "image": "none"}],
        },
    }
    spec = {"selector": {"matchLabels": _LABELS}, "template": template}
    create(admin, named(NAMESPACE, "apps/v1", "DaemonSet", AGENT, spec))
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{CONTROLLER}"
    return str(plane.admin.get(path)["data"]["controller.yaml"])


def _account(plane: ControlPlane, directory: Path, name: str, **spec: object) -> asking.Person:
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token"
    token = plane.admin.call("POST", path, {"spec": spec})["status"]["token"]
    return asking.Person.of(plane, directory / "people", {"token": token})


def _spawn(guard: Guard, directory: Path, name: str, person: asking.Person, *words: str) -> Process:
    return guard.spawn(
        name,
        [_COMMAND, "controller", *words],
        directory=directory,
        env={"KUBECONFIG": str(person.kubeconfig), "PATH": "/usr/bin:/bin"},
    )
