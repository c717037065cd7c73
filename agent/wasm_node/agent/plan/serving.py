"""How a container that serves HTTP is to do it: the pod's words as a spec."""

from wasm_node.agent.model import desired
from wasm_node.agent.model import serving as model
from wasm_node.protocol import records

_HEADER_BYTES = 64 * 2**10
_IDLE_S = 30.0
_LINGER_S = 5.0


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
    )
