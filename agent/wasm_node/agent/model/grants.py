"""
What a pod's annotations say of whom its guests may reach; nobody by default.

The grammar is that of the native engine (`agent/engine/src/grants.rs`), which
holds to it for each address; here it is read so that a mistake is told before
anything starts. A value that cannot be read is a refusal of the pod.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Mapping

HOSTS = "wasm-node.dev/allowed-outbound-hosts"
CONNECTIONS = "wasm-node.dev/allowed-connections"
DNS = "wasm-node.dev/allowed-dns"

_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_MOST_PORT = 65535


@dataclasses.dataclass(frozen=True)
class Grants:
    """
    Whom all containers of a pod may reach.

    Attributes:
        hosts: whom they may ask by wasi:http.
        connections: where their sockets may connect and send to.
        dns: whether they may look names up by themselves.
    """

    hosts: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    dns: bool = False


NOTHING = Grants()


def parse(annotations: Mapping[str, str]) -> Grants:
    """
    Read the annotations.

    Raises:
        ValueError: `NAME: why`, for the first that cannot be read.
    """
    hosts = _listed(annotations, HOSTS)
    for each in hosts:
        if _target(each) is None:
            raise ValueError(
                f"{HOSTS}: {each!r} is not HOST, *.HOST, an address or a CIDR, with :PORT (or :*) "
                "behind it where it is not 80 or 443; IPv6 is in brackets"
            )
    connections = _listed(annotations, CONNECTIONS)
    for each in connections:
        if _target(each) != (True, True):
            raise ValueError(
                f"{CONNECTIONS}: {each!r} is not ADDRESS:PORT or CIDR:PORT, such as "
                "10.0.0.0/8:5432 or [fd00::/8]:*"
            )
    dns = annotations.get(DNS, "false")
    if dns not in {"true", "false"}:
        raise ValueError(f"{DNS}: {dns!r} is neither true nor false")
    return Grants(hosts, connections, dns == "true")


_LACKING = {
    "ask": f"the annotation {HOSTS} does not have it",
    "connect": f"the annotation {CONNECTIONS} does not have it",
    "send": f"the annotation {CONNECTIONS} does not have it",
    "receive": f"the annotation {CONNECTIONS} does not have it",
    "listen": "it is no containerPort of the container",
    "accept": "the container has no containerPort",
    "resolve": f'the annotation {DNS} is not "true"',
}


def advice(denied: str) -> str:
    """
    Say what is missing that would allow it.

    Args:
        denied: as `records.Denial.what`; a later runtime may have others.
    """
    return _LACKING.get(denied, "the pod's grants do not allow it")


def _listed(annotations: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(annotations.get(name, "").replace(",", " ").split())


def _target(text: str) -> tuple[bool, bool] | None:
    """Say whether it is a network, and whether with a port; None: neither."""
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            return None
        port = rest[1:] if rest else None
    else:
        host, colon, rest = text.partition(":")
        port = rest if colon else None
    if port not in {None, "*"} and not _is_port(port or ""):
        return None
    if _is_network(host):
        return True, port is not None
    return (False, port is not None) if _is_name(host) else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= _MOST_PORT


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    prefix = text.partition("/")[2]
    return "%" not in text and (not prefix or prefix.isdecimal())


def _is_name(text: str) -> bool:
    name = text.removeprefix("*.")
    if set(name) <= set("0123456789."):
        return False  # an address that is not quite one
    return all(_LABEL.fullmatch(label) for label in name.split("."))
