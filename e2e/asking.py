"""
Ask the real API server for certificates, as whoever a test wants to be.

A `Person` is a kubeconfig: of a service account's token, of a bootstrap
token, of a certificate. Their requests go through kubectl, so that the API
server sees and records the author as it does in any cluster.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from e2e.cluster import Access, wait_until

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
_PURPOSE = {CLIENT: "client auth", SERVING: "server auth"}
_DECIDED_WITHIN_S = 20.0


@dataclass(frozen=True)
class Person:
    """Somebody to the API server, by a kubeconfig."""

    plane: Access
    kubeconfig: Path

    @classmethod
    def of(cls, plane: Access, directory: Path, user: dict[str, str]) -> "Person":
        """Write the kubeconfig of a `user` entry into a new file."""
        directory.mkdir(parents=True, exist_ok=True)
        ca = b64encode(plane.ca.read_bytes()).decode()
        cluster = {"server": plane.server, "certificate-authority-data": ca}
        path = directory / f"{len(list(directory.iterdir()))}.kubeconfig"
        path.touch(mode=0o600)
        context = {"cluster": "it", "user": "me"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": "it", "context": context}],
            "current-context": "it",
        }
        path.write_text(json.dumps(config))  # JSON is YAML
        return cls(plane, path)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl as this person; see `Access.kubectl`."""
        return self.plane.kubectl("--kubeconfig", str(self.kubeconfig), *words, stdin=stdin)

    def ask(
        self,
        name: str,
        node: str,
        signer: str = CLIENT,
        *,
        names: Sequence[x509.GeneralName] = (),
    ) -> "Asked":
        """Create a request for `system:node:NODE`, with a key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {
                "request": b64encode(pem(key, node, names)).decode(),
                "signerName": signer,
                "usages": ["digital signature", _PURPOSE[signer]],
            },
        }
        self.kubectl("create", "-f", "-", stdin=json.dumps(body))
        return Asked(self.plane, name, key)


@dataclass(frozen=True)
class Asked:
    """A request that was made, and its key."""

    plane: Access
    name: str
    key: ec.EllipticCurvePrivateKey

    def status(self) -> dict[str, Any]:
        """Read what became of it so far."""
        status: dict[str, Any] = self.plane.admin.get(f"{CSRS}/{self.name}")["status"]
        return status

    def decision(self) -> tuple[str, str, str]:
        """Wait for the decision; return its type, reason and message."""
        found = wait_until(
            lambda: self.status().get("conditions"),
            f"a decision about {self.name}",
            within_s=_DECIDED_WITHIN_S,
        )
        return found[0]["type"], found[0]["reason"], found[0]["message"]

    def certificate(self) -> x509.Certificate:
        """Wait for the certificate that the controller manager signs."""
        self.decision()
        encoded = wait_until(
            lambda: self.status().get("certificate"),
            f"the certificate of {self.name}",
            within_s=_DECIDED_WITHIN_S,
        )
        return x509.load_pem_x509_certificate(b64decode(encoded))

    def holder(self, directory: Path) -> Person:
        """Give who has the certificate, once it is there."""
        cert = self.certificate().public_bytes(serialization.Encoding.PEM)
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        user = {
            "client-certificate-data": b64encode(cert).decode(),
            "client-key-data": b64encode(key).decode(),
        }
        return Person.of(self.plane, directory, user)


def address(text: str) -> x509.GeneralName:
    """Give an alternative name for an IP address."""
    return x509.IPAddress(ip_address(text))


def pem(key: ec.EllipticCurvePrivateKey, node: str, names: Sequence[x509.GeneralName]) -> bytes:
    """Make the request for a node's certificate, PEM."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
