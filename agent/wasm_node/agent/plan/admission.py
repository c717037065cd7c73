"""
Whether a pod that was bound to this node fits on it.

The scheduler has seen to that already; a pod that names its node by itself has
not been there. Rules and words are the kubelet's: lifecycle/predicate.go, and
fitsRequest of the scheduler's noderesources plugin.
"""

from collections.abc import Iterable

from wasm_node.agent.model import desired, environment, observed


def admit(
    pod: desired.DesiredPod,
    others: Iterable[desired.DesiredPod],
    allocatable: environment.Allocatable,
) -> observed.Rejected | None:
    """Return why the pod cannot be beside the others; None: it can."""
    beside = [each.asks for each in others if each.ref.uid != pod.ref.uid and not each.finished]
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
    return None
