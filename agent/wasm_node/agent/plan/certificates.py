"""
When a certificate is replaced, and why: pure functions of it and the time.

A certificate is renewed at 70 to 90 % of its life, as the kubelet does it
(jitteryDuration of client-go's util/certificate): late enough to be worth it,
early enough for days of trouble with the signer, and not all nodes at once.
Life begins when it was obtained: signers date back, by minutes that are all
the life that a short one has. Where in the range is taken from the certificate
itself, so that an agent that restarts comes to the same answer.
"""

import hashlib
import ipaddress

from wasm_node.agent.model import certificates, times

_EARLIEST = 0.7
_RANGE = 0.2
_LEAST = 0.05


def renew_at(certificate: certificates.Certificate, *, obtained_at: float) -> float:
    """
    Return when to ask for the next one; all in unix seconds.

    Never at once: by a clock that is wrong each new one might look old.
    """
    part = _EARLIEST + _RANGE * int(certificate.fingerprint[:8], 16) / 2**32
    life_s = certificate.not_after - certificate.not_before
    left_s = certificate.not_after - obtained_at
    if not 0 < left_s <= life_s:  # not by this clock
        left_s = life_s
    return obtained_at + max(left_s * part, life_s * _LEAST)


def unfit(certificate: certificates.Certificate, wanted: certificates.Wanted, *, now: float) -> str:
    """Say why a certificate is of no use for what is wanted; empty: it is."""
    if certificate.user != wanted.user:
        return f"it is of {certificate.user or 'nobody'}, not of {wanted.user}"
    if certificate.ips != {_canonical(each) for each in wanted.ips}:
        return f"it is for {_listed(certificate.ips)}, not for {_listed(wanted.ips)}"
    if certificate.not_after <= now:
        return f"it expired at {times.rfc3339(certificate.not_after)}, by this host's clock"
    return ""


def skew(certificate: certificates.Certificate, *, now: float) -> str:
    """
    Say what a certificate that was issued for us tells of our clock.

    Empty: nothing. Kubernetes dates certificates of eight hours and more back
    by five minutes, so a clock that is a little slow does no harm.
    """
    if now < certificate.not_before:
        return f"this host's clock is slow by {certificate.not_before - now:.0f} s or more: set it"
    if now >= certificate.not_after:
        return f"this host's clock is fast by {now - certificate.not_after:.0f} s or more: set it"
    return ""


def request_name(wanted: certificates.Wanted, public_key: bytes) -> str:
    """
    Return the name of the CertificateSigningRequest for a key (DER).

    The same wish with the same key has the same name, so an agent that was
    killed while it waited finds its request again (as the kubelet does it,
    digestedName of pkg/kubelet/certificate/bootstrap).
    """
    said = "\0".join((wanted.signer, wanted.user, *wanted.usages, *wanted.ips))
    digest = hashlib.sha256(public_key + said.encode()).hexdigest()
    return f"wasm-node-{wanted.kind}-{digest[:40]}"


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def _listed(addresses: frozenset[str] | tuple[str, ...]) -> str:
    return ", ".join(sorted(addresses)) or "no address"
