"""
What a registry's 401 asks for: the Bearer token flow, its pure part.

`WWW-Authenticate` names a realm to fetch a token from. The realm comes from
the registry, so it is checked: over HTTPS, or plainly on this host for a
registry on this host. Credentials for the realm will come in here, too.
"""

import dataclasses
import json
import re
from urllib.parse import urlsplit

from wasm_node.agent.oci import reference

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9-]*)\s+(?=[A-Za-z0-9_-]+\s*=)")
_TOKEN_S = 60


@dataclasses.dataclass(frozen=True)
class Bearer:
    """A token is to be had from `realm` for these."""

    realm: str
    service: str
    scope: str

    def query(self) -> dict[str, str]:
        """Return the parameters to ask the realm with."""
        pairs = {"service": self.service, "scope": self.scope}
        return {name: value for name, value in pairs.items() if value}


@dataclasses.dataclass(frozen=True)
class Token:
    """What the realm gave, and for how long."""

    value: str
    lives_s: float


def bearer(headers: list[str], default_scope: str) -> Bearer | None:
    """Find a Bearer challenge in `WWW-Authenticate` headers, if any."""
    for header in headers:
        marks = list(_SCHEME.finditer(header))
        for number, mark in enumerate(marks):
            end = marks[number + 1].start() if number + 1 < len(marks) else len(header)
            if mark[1].lower() != "bearer":
                continue
            found = {
                name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
                for name, quoted, plain in _PARAMETER.findall(header[mark.end() : end])
            }
            if "realm" in found:
                scope = found.get("scope") or default_scope
                return Bearer(found["realm"], found.get("service", ""), scope)
    return None


def is_safe_realm(realm: str, *, plain_registry: bool) -> bool:
    """Say whether a token may be fetched from there."""
    try:
        parts = urlsplit(realm)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return False
    if parts.scheme == "https" and host:
        return True
    return parts.scheme == "http" and plain_registry and reference.is_loopback(host)


def token(content: bytes) -> Token | None:
    """Parse a realm's answer; None: there is no usable token in it."""
    try:
        raw = json.loads(content)
        value = raw.get("token") or raw.get("access_token")
        lives_s = float(raw.get("expires_in") or _TOKEN_S)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return None
    return Token(value, lives_s)
