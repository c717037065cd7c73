"""
A real Kubernetes control plane on loopback, for one test run.

etcd, kube-apiserver, kube-controller-manager and kube-scheduler, each a
process, with the rules that a real cluster has: RBAC, the Node authorizer,
NodeRestriction, TLS on both sides. What is not usual is said where it is set.
etcd listens on a unix socket, and the two that serve nobody on nothing, so a
control plane takes one port and any number of them run side by side.
"""

import functools
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from e2e.cluster import access, api, binaries, pki, processes

_READY_WITHIN_S = 90.0
_LOOPBACK = "127.0.0.1"
_KUBELET_CLIENT = "kube-apiserver-kubelet-client"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:nodes"]}, {"level": "None"}],
}


@dataclass(frozen=True)
class NodeCredentials:
    """
    What a node needs to be `system:node:NAME` and to serve its kubelet API.

    Attributes:
        kubeconfig: of the node's own identity, in the group `system:nodes`.
        client: the same identity's certificate and key.
        serving: certificate and key for the node's addresses.
        client_ca: who may call the kubelet API has a certificate of this one.
    """

    kubeconfig: Path
    client: pki.Certificate
    serving: pki.Certificate
    client_ca: Path


class ControlPlane(access.Access):
    """
    A running control plane; it ends with the guard that it was started by.

    Attributes:
        audit_log: every request of a node, a line of JSON each; None unless
            asked for.
    """

    def __init__(
        self,
        guard: processes.Guard,
        directory: Path,
        *,
        address: str,
        scheduler_qps: int | None,
        audited: bool,
        certificates_live_s: int | None,
        oldest: bool,
    ) -> None:
        self._guard = guard
        self._program = functools.partial(binaries.program, oldest=oldest)
        self._address = address
        self._authority = pki.Authority.create(directory / "pki")
        self._account_key = self._authority.service_account_key()
        port = guard.claim_port()
        server, ca = f"https://{address}:{port}", self._authority.files.cert
        admin = self._authority.issue(
            "admin", common_name="kubernetes-admin", organization="system:masters"
        )
        kubeconfig = _write_kubeconfig(directory / "pki", server, ca, "admin", admin)
        super().__init__(directory, server, ca, kubeconfig, admin)
        self.commands = self._program("kubectl").parent
        self.audit_log = directory / "audit.log" if audited else None
        self._apiserver_argv = [*self._apiserver(port), *self._audit()]
        self._controller_manager_argv = self._controller_manager(certificates_live_s)
        self._scheduler_argv = self._scheduler(scheduler_qps)
        self.controller_manager: processes.Process
        self.scheduler: processes.Process

    @classmethod
    def start(
        cls,
        guard: processes.Guard,
        directory: Path,
        *,
        address: str = _LOOPBACK,
        scheduler_qps: int | None = None,
        audited: bool = False,
        certificates_live_s: int | None = None,
        oldest: bool = False,
    ) -> Self:
        """
        Start a control plane and return when pods can be created in it.

        Args:
            guard: ends it.
            directory: a new directory for its files.
            address: of this machine, that the API server listens on; pods
                reach it by its Service unless it is loopback.
            scheduler_qps: binds per second that the scheduler may do; its own
                default of 50 hides what a node can do, so benchmarks raise it.
            audited: keep a log of all that nodes ask for.
            certificates_live_s: how long what it signs is valid; its own
                default is a year.
            oldest: of the oldest Kubernetes supported, kubectl too.

        Raises:
            Failed: a part ended or was not ready in time; the text has its log.
        """
        directory.mkdir(parents=True)
        plane = cls(
            guard,
            directory,
            address=address,
            scheduler_qps=scheduler_qps,
            audited=audited,
            certificates_live_s=certificates_live_s,
            oldest=oldest,
        )
        plane._start()
        return plane

    def node_credentials(self, name: str, addresses: list[str]) -> NodeCredentials:
        """Sign what node `name` needs to join and to serve on `addresses`."""
        client = self._authority.issue(
            f"{name}-client", common_name=f"system:node:{name}", organization="system:nodes"
        )
        serving = self._authority.issue(
            f"{name}-serving", common_name=f"system:node:{name}", hosts=[name, *addresses]
        )
        return NodeCredentials(
            self._write_kubeconfig(name, client), client, serving, client_ca=self.ca
        )

    def user_kubeconfig(self, name: str) -> Path:
        """Write a kubeconfig of a user of this name, in no group."""
        return self._write_kubeconfig(name, self._authority.issue(name, common_name=name))

    def api_as(self, client: pki.Certificate) -> api.Api:
        """Give the API as the holder of a certificate sees it."""
        return api.Api(self.server, self.ca, client)

    def audited(self) -> list[dict[str, Any]]:
        """
        List what nodes have asked, and were answered, by the audit log.

        It may be a moment behind their answers; who waits for one asks again.
        """
        assert self.audit_log is not None
        whole, _, _ = self.audit_log.read_text().rpartition("\n")  # one may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def stop_apiserver(self) -> None:
        """End the API server as a crash would; all other parts go on."""
        self.apiserver.kill()

    def start_apiserver(self) -> None:
        """
        Start the API server again, on its port and data; return when ready.

        Raises:
            Failed: it ended or was not ready in time.
        """
        self.apiserver = self._guard.spawn(
            "kube-apiserver", self._apiserver_argv, directory=self.directory
        )
        self._wait_for("a ready API server", lambda: self.admin.get("/readyz") == "ok")

    def restart_controllers(self) -> None:
        """
        End controller manager and scheduler, and start both again.

        They forget what they wait for since their API server was killed: a Job
        whose pod was gone before its controller saw it has no other for five
        minutes (ExpectationsTimeout), and then not before its next event.
        """
        self.controller_manager.kill()
        self.scheduler.kill()
        self.restart_ended()

    def restart_ended(self) -> None:
        """
        Start again a controller manager or scheduler that ended by itself.

        A kubelet would. They may end themselves after their API server was
        killed: the scheduler does so when it finds that it has missed the end
        of a pod whose name another has by then.
        """
        if not self.controller_manager.running:
            self.controller_manager = self._start_part(self._controller_manager_argv)
        if not self.scheduler.running:
            self.scheduler = self._start_part(self._scheduler_argv)

    def _start_part(self, argv: Sequence[str | Path]) -> processes.Process:
        return self._guard.spawn(Path(argv[0]).name, argv, directory=self.directory)

    def _start(self) -> None:
        self.etcd = self._guard.spawn(
            "etcd", _etcd(self._program("etcd")), directory=self.directory
        )
        self.start_apiserver()
        self.controller_manager = self._start_part(self._controller_manager_argv)
        self.scheduler = self._start_part(self._scheduler_argv)
        self.admin.call(
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            _kubelet_admin_binding(),
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_for(
            "the default service account",
            lambda: self.admin.get(account),
            self.controller_manager,
            self.scheduler,
        )

    def _wait_for(self, what: str, condition: Any, *more: processes.Process) -> None:
        def holds() -> bool:
            try:
                return bool(condition())
            except (OSError, api.Refused):
                return False

        alive = (self.etcd, self.apiserver, *more)
        processes.wait_until(holds, what, within_s=_READY_WITHIN_S, alive=alive)

    def _write_kubeconfig(self, name: str, client: pki.Certificate) -> Path:
        return _write_kubeconfig(self.directory / "pki", self.server, self.ca, name, client)

    def _apiserver(self, port: int) -> list[str | Path]:
        serving = self._authority.issue(
            "apiserver",
            common_name="kube-apiserver",
            hosts=[self._address, "localhost", "kubernetes.default.svc", "10.96.0.1"],
        )
        kubelet_client = self._authority.issue("kubelet-client", common_name=_KUBELET_CLIENT)
        return [
            self._program("kube-apiserver"),
            "--etcd-servers=unix:etcd.sock",
            f"--bind-address={self._address}",
            f"--advertise-address={self._address}",
            *self._reachability(),
            f"--secure-port={port}",
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.ca}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-bootstrap-token-auth",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={kubelet_client.cert}",
            f"--kubelet-client-key={kubelet_client.key}",
            f"--kubelet-certificate-authority={self.ca}",
            f"--service-account-key-file={self._account_key}",
            f"--service-account-signing-key-file={self._account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
        ]

    def _reachability(self) -> list[str]:
        if self._address == _LOOPBACK:  # is no endpoint, and there may be no other
            return ["--endpoint-reconciler-type=none"]
        # kubeadm's; the default begins with names, which nothing resolves.
        return ["--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"]

    def _audit(self) -> list[str]:
        if self.audit_log is None:
            return []
        policy = self.directory / "audit-policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY))  # JSON is YAML
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]

    def _controller_manager(self, life_s: int | None) -> list[str | Path]:
        client = self._authority.issue(
            "controller-manager", common_name="system:kube-controller-manager"
        )
        return [
            self._program("kube-controller-manager"),
            f"--kubeconfig={self._write_kubeconfig('controller-manager', client)}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials",
            "--controllers=*,bootstrapsigner,tokencleaner",
            # The default of 20/s triples the time to the first service account.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            f"--service-account-private-key-file={self._account_key}",
            f"--root-ca-file={self.ca}",
            f"--cluster-signing-cert-file={self.ca}",
            f"--cluster-signing-key-file={self._authority.files.key}",
            *([f"--cluster-signing-duration={life_s}s"] if life_s else []),
        ]

    def _scheduler(self, qps: int | None) -> list[str | Path]:
        client = self._authority.issue("scheduler", common_name="system:kube-scheduler")
        return [
            self._program("kube-scheduler"),
            f"--kubeconfig={self._write_kubeconfig('scheduler', client)}",
            "--secure-port=0",
            "--leader-elect=false",
            *([f"--kube-api-qps={qps}", f"--kube-api-burst={2 * qps}"] if qps else []),
        ]


def _write_kubeconfig(
    folder: Path, server: str, ca: Path, name: str, client: pki.Certificate
) -> Path:
    def inline(path: Path) -> str:
        return b64encode(path.read_bytes()).decode()

    user = {
        "client-certificate-data": inline(client.cert),
        "client-key-data": inline(client.key),
    }
    cluster = {"server": server, "certificate-authority-data": inline(ca)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test-bed", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "test-bed", "context": {"cluster": "test-bed", "user": name}}],
        "current-context": "test-bed",
    }
    path = folder / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2))  # JSON is YAML
    return path


def _etcd(program: Path) -> list[str | Path]:
    return [
        program,
        "--data-dir=etcd",
        "--unsafe-no-fsync",  # the data lives as long as the processes
        # Relative, because a socket's path may not be as long as a test's.
        "--listen-client-urls=unix://etcd.sock",
        "--advertise-client-urls=http://localhost:0",  # older ones insist on a port
        "--listen-peer-urls=unix://etcd-peer.sock",
        "--log-level=warn",
    ]


def _kubelet_admin_binding() -> dict[str, Any]:
    """Let the API server into kubelet APIs, as kubeadm lets it."""
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "ClusterRole", "name": "system:kubelet-api-admin"}
    user = {"apiGroup": group, "kind": "User", "name": _KUBELET_CLIENT}
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _KUBELET_CLIENT},
        "roleRef": role,
        "subjects": [user],
    }
