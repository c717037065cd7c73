"""
Whether a pod that was bound to this node fits on it.

The scheduler has seen to that already; a pod that names its node by itself has
not been there. Rules and words are the kubelet's: lifecycle/predicate.go, and
fitsRequest and fitsPorts of the scheduler (plugins noderesources, nodeports).
"""

from collections.abc import Iterable, Iterator

from wasm_node.agent.model import desired, environment, manifest, observed

_EVERY = "0.0.0.0"  # noqa: S104  # nothing is bound here


def admit(
    pod: desired.DesiredPod,
    others: Iterable[desired.DesiredPod],
    allocatable: environment.Allocatable,
) -> observed.Rejected | None:
    """Return why the pod cannot be beside the others; None: it can."""
    there = [each for each in others if each.ref.uid != pod.ref.uid and not each.finished]
    beside = [each.asks for each in there]
    asked = pod.asks
    rows = (
        ("pods", 1, len(beside), allocatable.pods),
        ("cpu", asked.cpu_millis, sum(each.cpu_millis for each in beside), allocatable.cpu_millis),
        (
            "memory",
            asked.memory_bytes,
            sum(each.memory_bytes for each in beside),
            allocatable.memory_bytes,
        ),
    )
    for name, wanted, used, capacity in rows:
        if wanted and used + wanted > capacity:
            return observed.Rejected(
                f"OutOf{name}",
                f"Pod was rejected: Node didn't have enough resource: {name}, "
                f"requested: {wanted}, used: {used}, capacity: {capacity}",
            )
    for each in there:
        for taken in _conflicts(pod, each):
            return observed.Rejected(
                "NodePorts",
                "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for "
                f"the requested pod ports: {taken.protocol} {taken.host_port} is already that of "
                f"pod {each.ref.namespace}/{each.ref.name}",
            )
    return None


def _conflicts(pod: desired.DesiredPod, other: desired.DesiredPod) -> Iterator[manifest.Port]:
    """As HostPortInfo.CheckConflict of kube-scheduler."""
    held = [(each.protocol, each.host_port, _address(each)) for each in other.host_ports()]
    for wanted in pod.host_ports():
        address = _address(wanted)
        for protocol, port, its in held:
            same = (protocol, port) == (wanted.protocol, wanted.host_port)
            if same and (address == its or _EVERY in (address, its)):
                yield wanted


def _address(port: manifest.Port) -> str:
    return port.host_ip or _EVERY
