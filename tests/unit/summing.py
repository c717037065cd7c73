"""What pods have of a node, summed anew: what kept sums have to come to."""

from collections.abc import Iterable

from wasm_node.agent.model import desired, requests, taken


def taken_by(others: Iterable[desired.DesiredPod], pod: desired.DesiredPod) -> taken.Taken:
    """Return what others have, as far as it matters to a pod."""
    there = [each for each in others if each.ref.uid != pod.ref.uid]
    wanted = {taken.key(each) for each in pod.host_ports()}
    ports = [
        each for other in there for each in taken.held(other) if taken.key(each.port) in wanted
    ]
    return taken.Taken(len(there), sum((each.asks for each in there), requests.NOTHING), ports)
