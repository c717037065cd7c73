"""
How a container that serves HTTP is to do it: the pod's words as a spec.

And where it may have ports of its host. The pods of a node share the runtime's
address, so that a hostPort is true only where that is the host's own.
"""

import ipaddress
from collections.abc import Iterator

from wasm_node.agent.model import desired, environment, manifest
from wasm_node.agent.model import serving as model
from wasm_node.protocol import records

_HEADER_BYTES = 64 * 2**10
_IDLE_S = 30.0
_LINGER_S = 5.0
_EVERY = ("", "0.0.0.0", "::")  # noqa: S104  # hostIPs, of no address in particular


def http(
    pod: desired.DesiredPod, wanted: desired.DesiredContainer, *, serves: bool
) -> records.Http | None:
    """
    Return how it serves; None: it is run as a command.

    `serves`: its program answers HTTP by itself. Without a port it has none
    to do so on, which the runtime refuses with the reason. Told to end, it
    goes on accepting for a moment, as endpoints do not leave at once.
    """
    ports = wanted.tcp_ports()
    wagi = pod.http.wagi and not serves
    if not ports or not (serves or wagi):
        return None
    return records.Http(
        mode="wagi" if wagi else "proxy",
        owner=model.owner(pod.metadata),
        ports=ports,
        reuse=pod.http.reuse,
        concurrency=pod.http.concurrency,
        timeout_s=pod.http.timeout_s,
        max_body_bytes=pod.http.max_body_bytes,
        max_header_bytes=_HEADER_BYTES,
        idle_s=_IDLE_S,
        linger_s=min(_LINGER_S, pod.grace_s / 2),
        host_ports=tuple(
            records.HostPort("" if each.host_ip in _EVERY else each.host_ip, each.host_port)
            for each in wanted.ports
            if each.host_port
        ),
    )


def refusals(
    wanted: desired.DesiredContainer, place: environment.Place, *, serves: bool
) -> Iterator[desired.Refusal]:
    """
    List why it cannot have the ports of the host that it wants.

    `serves`: its ports are opened for it, and not by the guest itself.
    """
    for each in wanted.ports:
        why = _unmet(each, place, serves=serves) if each.host_port else ""
        if why:
            field = f"{wanted.name}.ports.hostPort"
            yield desired.Refusal(field, f"{each.host_port} cannot be had: {why}")


def _unmet(port: manifest.Port, place: environment.Place, *, serves: bool) -> str:
    if place.pod_ip != place.host_ip:
        return (
            f"ports of wasm pods on this node are on {place.pod_ip}, not on the host's "
            f"{place.host_ip}; use a Service, of type NodePort for a port of every host, or a "
            "machine that is a node by itself (docs/joining.md)"
        )
    if port.host_ip not in _EVERY and not _is_address(port.host_ip):
        return f"hostIP {port.host_ip!r} is not an IP address"
    if serves:
        return "" if port.protocol == "TCP" else "this program serves HTTP, by TCP only: remove it"
    if port.host_port != port.container_port:
        return "this program opens its ports by itself: it has to be equal to containerPort"
    if port.host_ip not in _EVERY:
        return "this program opens its ports by itself, on what address it likes: remove hostIP"
    return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
