"""
What a certificate request asks for, read once, strictly.

Whoever decides and whoever signs read the same bytes with different parsers
(here cryptography, there Go), and a request that means one thing to each is
how a forbidden name gets signed. So what is not written the one usual way is
refused as unreadable: one PEM block and nothing around it, at most one list
of extensions and no other attribute. Pure; nothing here knows who asks.
"""

import base64
import binascii
import dataclasses
import ipaddress
import re
from typing import TypeAlias

from cryptography import exceptions, x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_MAX_PEM_BYTES = 16 * 2**10
_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE REQUEST-----\r?\n"
    rb"([A-Za-z0-9+/=\r\n]+)"
    rb"-----END CERTIFICATE REQUEST-----\s*"
)
_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
_RSA_BITS = range(2048, 8193)
_CURVE_BITS = 256


class Unreadable(ValueError):
    """The request cannot be read as the one thing it has to be."""


@dataclasses.dataclass(frozen=True)
class Request:
    """
    A request whose signature holds.

    Attributes:
        subject: (dotted type, value) of each part of the subject.
        dns: names that the certificate is to be valid for.
        ips: addresses that it is to be valid for.
        others: kinds of any other alternative names: email, URI, ...
        rsa: whether the key is an RSA one, which may also encipher.
        weak: what is wrong with the key; empty if nothing is.
    """

    subject: tuple[tuple[str, str], ...]
    dns: frozenset[str]
    ips: frozenset[IPAddress]
    others: frozenset[str]
    rsa: bool
    weak: str

    def is_for(self, user: str, group: str) -> bool:
        """Say whether the subject is this user of this group, no more."""
        wanted = [(NameOID.COMMON_NAME, user), (NameOID.ORGANIZATION_NAME, group)]
        return sorted(self.subject) == sorted((kind.dotted_string, text) for kind, text in wanted)

    @property
    def user(self) -> str:
        """The only common name of the subject; empty if it has not one."""
        names = [text for kind, text in self.subject if kind == NameOID.COMMON_NAME.dotted_string]
        return names[0] if len(names) == 1 else ""


def read(encoded: str) -> Request:
    """
    Read `spec.request` of a CertificateSigningRequest.

    Raises:
        Unreadable: why it cannot be taken; the text is for its author.
    """
    if len(encoded) > 2 * _MAX_PEM_BYTES:
        raise Unreadable(f"it is larger than {_MAX_PEM_BYTES // 2**10} KiB")
    try:
        found = _PEM.fullmatch(base64.b64decode(encoded, validate=True))
        if found is None:
            raise Unreadable("it is not exactly one PEM block CERTIFICATE REQUEST")
        parsed = x509.load_der_x509_csr(base64.b64decode(found[1]))
        return _checked(parsed)
    except (
        ValueError, binascii.Error, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
        exceptions.UnsupportedAlgorithm,
    ) as error:  # fmt: skip
        raise Unreadable(str(error) or type(error).__name__) from error


def _checked(parsed: x509.CertificateSigningRequest) -> Request:
    kinds = [each.oid.dotted_string for each in parsed.attributes]
    if kinds not in ([], [_EXTENSION_REQUEST]):
        raise Unreadable("it has attributes beside one list of extensions")
    is_rsa, weak = _key(parsed)
    if not weak and not parsed.is_signature_valid:  # NB: a huge key is not even tried
        raise Unreadable("its signature is wrong")
    dns, ips, others = _alternative_names(parsed)
    return Request(
        subject=tuple((each.oid.dotted_string, str(each.value)) for each in parsed.subject),
        dns=dns,
        ips=ips,
        others=others,
        rsa=is_rsa,
        weak=weak,
    )


def _key(parsed: x509.CertificateSigningRequest) -> tuple[bool, str]:
    key = parsed.public_key()
    match key:
        case rsa.RSAPublicKey():
            fine = key.key_size in _RSA_BITS
            return True, "" if fine else f"an RSA key of {key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            fine = key.curve.key_size >= _CURVE_BITS
            return False, "" if fine else f"the curve {key.curve.name}"
        case ed25519.Ed25519PublicKey():
            return False, ""
        case _:
            return False, f"a key of type {type(key).__name__}"


def _alternative_names(
    parsed: x509.CertificateSigningRequest,
) -> tuple[frozenset[str], frozenset[IPAddress], frozenset[str]]:
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset(), frozenset(), frozenset()
    dns, ips, others = set(), set(), set()
    for name in names:
        match name:
            case x509.DNSName():
                dns.add(name.value)
            case x509.IPAddress(value=ipaddress.IPv4Address() | ipaddress.IPv6Address()):
                ips.add(ipaddress.ip_address(str(name.value)))
            case _:
                others.add(type(name).__name__)
    return frozenset(dns), frozenset(ips), frozenset(others)
