"""
Private keys, and the requests that prove that we have them.

A key that a certificate was asked for stays on disk until the certificate is
there: an agent that is killed while it waits for an approval must find its
request again, and not leave one behind at each start. Keys never leave the
state directory.
"""

import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wasm_node.agent import statedir
from wasm_node.agent.model import certificates


class Key:
    """
    A private key on disk; P-256, as the kubelet's.

    Attributes:
        is_new: nothing can have been signed for it yet.
    """

    def __init__(self, private: ec.EllipticCurvePrivateKey, *, is_new: bool) -> None:
        self._private = private
        self.is_new = is_new

    @classmethod
    def at(cls, path: Path) -> "Key":
        """Read the key there, or make one; blocks."""
        try:
            found = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if isinstance(found, ec.EllipticCurvePrivateKey):
                return cls(found, is_new=False)
        except (FileNotFoundError, ValueError):
            pass  # none, or one cut short: nothing has been signed for it
        made = cls(ec.generate_private_key(ec.SECP256R1()), is_new=True)
        statedir.write_secret(path, made.pem)
        return made

    @property
    def pem(self) -> bytes:
        """The private key itself."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def public(self) -> bytes:
        """The public key, DER."""
        return self._private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def request(self, wanted: certificates.Wanted) -> bytes:
        """Return a certificate request, PEM: exactly what is wanted."""
        subject = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, certificates.GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, wanted.user),
        ]
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
        if wanted.ips:
            addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in wanted.ips]
            builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        made = builder.sign(self._private, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM)
