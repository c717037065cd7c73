"""What guests may reach of the network: their pod's words as a spec."""

from wasm_node.agent.model import desired
from wasm_node.agent.model import grants as model
from wasm_node.protocol import records


def grants(
    pod: desired.DesiredPod, wanted: desired.DesiredContainer, *, serves: bool
) -> records.Grants | None:
    """
    Return what they may; None is nothing.

    Its own ports are granted to a guest that opens them by itself; those of
    one that `serves` HTTP are opened for it.
    """
    listen = () if serves else tuple(dict.fromkeys(x.container_port for x in wanted.ports))
    if pod.may_reach == model.NOTHING and not listen:
        return None
    return records.Grants(pod.may_reach.hosts, pod.may_reach.connections, listen, pod.may_reach.dns)
