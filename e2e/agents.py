"""
Agents that become nodes by themselves: bootstrap identity, requests, approvals.

An agent without a runtime: who it is to the cluster needs none. What a
controller or a person would approve, the test approves, so that it can look
at each step, and wait for it.
"""

import datetime as dt
import json
import os
import shlex
import sys
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from e2e import asking
from e2e.cluster import ControlPlane, Guard, Process, api, pki, wait_until

GROUP = "system:bootstrappers:wasm-node"
_COMMAND = str(Path(sys.executable).parent / "wasm-node")
_WITHIN_S = 40.0
_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"


@dataclass
class Agent:
    """
    An agent's directory, and its process when it runs.

    Attributes:
        name: of its Node.
        directory: its disk and its settings.
        settings: written to its file at each start.
        process: of `wasm-node agent`.
        runtime: of `wasm-node runtime`, if that was started.
    """

    plane: ControlPlane
    guard: Guard
    name: str
    directory: Path
    settings: dict[str, Any] = field(init=False)
    process: Process = field(init=False)
    runtime: Process = field(init=False)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self.settings = {
            "nodeName": self.name,
            "stateDir": str(self.state),
            "runDir": str(self.directory / "run"),
            "logDir": str(self.directory / "logs"),
            "address": {"value": "127.0.0.1"},
            "kubelet": {"bind": "127.0.0.1", "port": self.guard.claim_port()},
            "healthBind": "127.0.0.1",
            "healthPort": self.guard.claim_port(),
        }

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "state"

    def start(self, *flags: str) -> None:
        """Start it; return at once."""
        self._spawn([*self._words(), *flags])

    def start_in_pod(self, token: str) -> None:
        """
        Start it with the files and variables of a pod's service account.

        They are mounted where Kubernetes mounts them, in a mount namespace of
        its own; nothing of that is seen on this machine.
        """
        source = self.directory / "account"
        source.mkdir()
        (source / "token").write_text(token)
        (source / "ca.crt").write_bytes(self.plane.ca.read_bytes())
        host, port = self.plane.server.removeprefix("https://").split(":")
        script = (
            f"mount -t tmpfs none /run && mkdir -p {_ACCOUNT} && cp {shlex.quote(str(source))}/* "
            f"{_ACCOUNT} && exec env KUBERNETES_SERVICE_HOST={host} KUBERNETES_SERVICE_PORT={port} "
            f"{shlex.join(self._words())}"
        )
        self._spawn(["unshare", "--mount", "sh", "-c", script])

    def start_runtime(self) -> None:
        """Start its runtime; return at once. With that, pods come to it."""
        flags = ["--state", str(self.state), "--run", str(self.directory / "run")]
        self.runtime = self.guard.spawn(
            f"{self.name}-runtime",
            [_COMMAND, "runtime", *flags, "--log-dir", str(self.directory / "logs")],
            directory=self.directory,
            grace_s=5,
        )

    def end(self) -> None:
        """End what has been started of it, as a host that loses its power."""
        for each in ("process", "runtime"):
            if each in vars(self):
                vars(self)[each].kill()

    def log(self) -> str:
        """Return what it has logged so far, over all its starts."""
        return self.process.log.read_text()

    def wait_log(self, text: str, *, since: int = 0) -> None:
        """Return once it has logged that, after so much of its log."""
        wait_until(
            lambda: text in self.log()[since:], f"{text!r} in its log", within_s=_WITHIN_S,
            alive=[self.process],
        )  # fmt: skip

    def health(self, path: str = "/healthz") -> tuple[int, str]:
        """Ask its health endpoint; status 0 if nobody answers."""
        url = f"http://127.0.0.1:{self.settings['healthPort']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def requests(self, kind: str) -> list[Any]:
        """List its certificate requests of a kind, the oldest first."""
        found = [
            each
            for each in self.plane.admin.get(asking.CSRS)["items"]
            if each["metadata"]["name"].startswith(f"wasm-node-{kind}-")
            and requested(each).subject == _subject(self.name)
        ]
        return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))

    def pending(self, kind: str) -> Any:
        """Wait for a request that nobody has decided about; return it."""

        def found() -> Any:
            undecided = [each for each in self.requests(kind) if not each["status"]]
            return undecided[0] if undecided else None

        return wait_until(
            found, f"a {kind} request of {self.name}", within_s=_WITHIN_S, alive=[self.process]
        )

    def approve(self, kind: str) -> str:
        """Wait for a request and approve it; return its name."""
        name = str(self.pending(kind)["metadata"]["name"])
        self.plane.kubectl("certificate", "approve", name)
        return name

    def approve_all(self) -> None:
        """Approve whatever it has asked for so far."""
        for kind in ("client", "serving"):
            for each in self.requests(kind):
                if not each["status"]:
                    self.plane.kubectl("certificate", "approve", each["metadata"]["name"])

    def node(self) -> Any:
        """Return its Node; None: there is none."""
        try:
            return self.plane.admin.get(f"/api/v1/nodes/{self.name}")
        except api.Refused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def wait_registered(self) -> Any:
        """Return its Node once it is there."""
        what = f"node {self.name}"
        return wait_until(self.node, what, within_s=_WITHIN_S, alive=[self.process])

    def served(self) -> str:
        """Read its metrics as the API server would; empty: not now."""
        pki_files = self.plane.directory / "pki"
        client = pki.Certificate(pki_files / "kubelet-client.crt", pki_files / "kubelet-client.key")
        address, port = self.settings["address"]["value"], self.settings["kubelet"]["port"]
        try:
            return str(api.Api(f"https://{address}:{port}", self.plane.ca, client).get("/metrics"))
        except OSError:
            return ""

    def give_certificate(
        self, begin: dt.timedelta, end: dt.timedelta, *, by: pki.Certificate | None = None
    ) -> None:
        """
        Put a client certificate on its disk, as if it had been issued then.

        Args:
            begin: of its validity, from now.
            end: of its validity, from now.
            by: who signs it; by default the cluster's authority.
        """
        authority = by or pki.Certificate(self.plane.ca, self.plane.directory / "pki" / "ca.key")
        issuer = x509.load_pem_x509_certificate(authority.cert.read_bytes())
        signer = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(_subject(self.name))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        path = self.state / "pki" / "client.pem"
        path.parent.mkdir(parents=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        os.utime(path, times=2 * ((now + begin).timestamp(),))

    def credentials(self) -> list[str]:
        """
        List the certificates (SHA-256) that the API server knew it by.

        From the audit log, in the order in which they appeared there.
        """
        found: dict[str, None] = {}
        for each in self.plane.audited():
            user = each["user"]
            if user["username"] == f"system:node:{self.name}":
                found |= dict.fromkeys(user["extra"]["authentication.kubernetes.io/credential-id"])
        return [each.removeprefix("X509SHA256=") for each in found]

    def certificate(self) -> x509.Certificate:
        """Read the client certificate on its disk."""
        return x509.load_pem_x509_certificate((self.state / "pki" / "client.pem").read_bytes())

    def wait_served(self) -> str:
        """Return its metrics once its certificate is as it has to be."""
        return wait_until(self.served, "its metrics", within_s=_WITHIN_S, alive=[self.process])

    def join(self) -> None:
        """Start it, approve what it asks for, and return when it serves."""
        self.start()
        self.approve("client")
        self.wait_registered()
        self.approve("serving")
        self.wait_served()

    def _words(self) -> list[str]:
        file = self.directory / "agent.yaml"
        file.write_text(json.dumps(self.settings))  # JSON is YAML
        return [_COMMAND, "agent", "--config", str(file)]

    def _spawn(self, words: Sequence[str]) -> None:
        self.process = self.guard.spawn(
            f"{self.name}-agent", words, directory=self.directory, grace_s=5
        )


def requested(csr: Any) -> x509.CertificateSigningRequest:
    """Return what a CertificateSigningRequest asks for."""
    return x509.load_pem_x509_csr(b64decode(csr["spec"]["request"]))


def bootstrap(plane: ControlPlane, directory: Path) -> Path:
    """Make a bootstrap token of our group; return the kubeconfig with it."""
    token_id, secret = "wasmno", "0123456789abcdef"
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "stringData": {
            "token-id": token_id,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": GROUP,
        },
    }
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "wasm-node-bootstrap"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:node-bootstrapper"},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": GROUP}],
    }
    for each in (body, binding):
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(each))
    return asking.Person.of(plane, directory, {"token": f"{token_id}.{secret}"}).kubeconfig


def _subject(node: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(f"CN=system:node:{node},O=system:nodes")
