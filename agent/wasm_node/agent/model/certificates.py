"""
Certificates of a node: what one is wanted for, and what one says.

Both kinds have the same subject, `system:node:NAME` in `system:nodes`, which
is all that the API server knows of a node. Subjects, usages and alternative
names are those that the two signers demand (Kubernetes' documentation of
certificate signing requests, "Kubernetes signers").
"""

import dataclasses
import hashlib
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from wasm_node.agent import errors

GROUP = "system:nodes"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """
    What a certificate is to be for.

    Attributes:
        kind: word for people, and for the names of objects and files.
        signer: `spec.signerName` of the request.
        usages: `spec.usages` of the request.
        user: common name.
        ips: literal addresses to serve on; the only alternative names.
    """

    kind: Literal["client", "serving"]
    signer: str
    usages: tuple[str, ...]
    user: str
    ips: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Certificate:
    """
    A certificate that is here with its key.

    Attributes:
        user: common name; empty if it has none.
        ips: addresses it is valid for, as text.
        not_before, not_after: unix seconds.
        fingerprint: SHA-256 of it, hexadecimal.
    """

    user: str
    ips: frozenset[str]
    not_before: float
    not_after: float
    fingerprint: str


def client(node_name: str) -> Wanted:
    """Return what a node wants to be known by."""
    return Wanted(
        "client",
        "kubernetes.io/kube-apiserver-client-kubelet",
        ("digital signature", "client auth"),
        f"system:node:{node_name}",
    )


def serving(node_name: str, address: str) -> Wanted:
    """Return what a node wants to serve its kubelet API with."""
    return Wanted(
        "serving",
        "kubernetes.io/kubelet-serving",
        ("digital signature", "server auth"),
        f"system:node:{node_name}",
        (address,),
    )


def parse(pem: bytes) -> Certificate:
    """
    Read a certificate chain with its key, PEM; the first one counts.

    Raises:
        BadInput: it cannot be read, or the key is another's.
    """
    try:
        found = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, password=None)
        if found.public_key() != key.public_key():
            raise ValueError("the key is that of another certificate")
    except (ValueError, TypeError) as error:
        raise errors.BadInput(
            f"cannot use the certificate: {error}", reason="InvalidCertificate"
        ) from error
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        user=str(names[0].value) if names else "",
        ips=_ips(found),
        not_before=found.not_valid_before_utc.timestamp(),
        not_after=found.not_valid_after_utc.timestamp(),
        fingerprint=hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest(),
    )


def expiry(pem: bytes) -> float:
    """
    Return when the first certificate of a file expires; unix seconds.

    Raises:
        ValueError: there is none.
    """
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def _ips(found: x509.Certificate) -> frozenset[str]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(map(str, names.get_values_for_type(x509.IPAddress)))
