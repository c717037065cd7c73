"""A request is read in one way only, or not at all."""

import ipaddress
from base64 import b64encode
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from wasm_node.controller import requests

KEY = ec.generate_private_key(ec.SECP256R1())
SUBJECT = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, "system:node:wasm-h1"),
    ]
)
ADDRESS = ipaddress.ip_address("10.0.0.1")
EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


def builder(*names: x509.GeneralName) -> x509.CertificateSigningRequestBuilder:
    """Give a request for the node, with alternative names."""
    made = x509.CertificateSigningRequestBuilder().subject_name(SUBJECT)
    return made.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else made


def pem(made: x509.CertificateSigningRequestBuilder) -> bytes:
    """Sign a request."""
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def read(text: bytes) -> requests.Request:
    """Read it as it stands in a CertificateSigningRequest."""
    return requests.read(b64encode(text).decode())


def test_what_a_request_says() -> None:
    """Subject, and alternative names by their kind."""
    names: Sequence[x509.GeneralName] = (
        x509.IPAddress(ADDRESS),
        x509.DNSName("kubernetes"),
        x509.RFC822Name("a@b"),
    )

    found = read(pem(builder(*names)))

    assert found.is_for("system:node:wasm-h1", "system:nodes")
    assert not found.is_for("system:node:wasm-h9", "system:nodes")
    assert found.user == "system:node:wasm-h1"
    assert [{ADDRESS}, {"kubernetes"}, {"RFC822Name"}] == [
        set(each) for each in (found.ips, found.dns, found.others)
    ]
    assert (found.rsa, found.weak) == (False, "")


def test_a_second_subject_is_seen() -> None:
    """Neither a second name nor a second group hides behind the first."""
    parts = [*SUBJECT, x509.NameAttribute(NameOID.COMMON_NAME, "system:node:wasm-h9")]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))

    found = read(pem(made))

    assert not found.is_for("system:node:wasm-h1", "system:nodes")
    assert found.user == ""


ONE = pem(builder())
OTHER = pem(builder(x509.DNSName("kubernetes")))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA", id="no end"),
        pytest.param(ONE + OTHER, id="two requests"),
        pytest.param(b"hello\n" + ONE, id="text before"),
        pytest.param(ONE.replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"), id="label"),
        pytest.param(ONE.replace(b"\n", b"\nA: b\n\n", 1), id="a header"),
        pytest.param(ONE.replace(b"M", b"\xff", 1), id="no base64"),
        pytest.param(ONE[:200] + b"\n-----END CERTIFICATE REQUEST-----\n", id="cut"),
        pytest.param(ONE + b" " * 40_000, id="huge"),
        pytest.param(
            pem(builder().add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"x")), id="an attribute"
        ),
        pytest.param(
            pem(builder(x509.IPAddress(ADDRESS)).add_attribute(EXTENSION_REQUEST, b"x")),
            id="two lists of extensions",
        ),
    ],
)
def test_what_may_be_read_in_two_ways_is_not_read(text: bytes) -> None:
    """Whoever signs has another parser: only the usual form passes."""
    with pytest.raises(requests.Unreadable):
        read(text)


def test_what_is_no_base64_at_all_is_not_read() -> None:
    """The field itself may be anything."""
    with pytest.raises(requests.Unreadable):
        requests.read("not base64: \N{SNOWMAN}")


def test_a_signature_has_to_hold() -> None:
    """The key that is to be certified was used to ask for it."""
    der = bytearray(builder().sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER))
    at = der.index(b"wasm-h1")
    der[at : at + 7] = b"wasm-h9"
    lines = b64encode(der)
    text = b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"\n-----END CERTIFICATE REQUEST-----"

    with pytest.raises(requests.Unreadable, match="signature"):
        read(text)


def test_keys_have_to_be_strong() -> None:
    """As strong as Kubernetes' own are, and small enough to be checked."""
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # that is the point
    fine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unknown = ed448.Ed448PrivateKey.generate()

    def weak(made: x509.CertificateSigningRequest) -> str:
        return read(made.public_bytes(Encoding.PEM)).weak

    assert weak(builder().sign(small, hashes.SHA256())) == "an RSA key of 1024 bits"
    assert weak(builder().sign(fine, hashes.SHA256())) == ""
    assert weak(builder().sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256())) == ""
    assert weak(builder().sign(ec.generate_private_key(ec.SECP224R1()), hashes.SHA256())) != ""
    assert weak(builder().sign(ed25519.Ed25519PrivateKey.generate(), None)) == ""
    assert "Ed448" in weak(builder().sign(unknown, None))
