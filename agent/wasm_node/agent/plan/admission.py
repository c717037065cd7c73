"""
Whether a pod that was bound to this node may run here.

The scheduler has seen to that already; a pod that names its node by itself has
not been there. Rules, words and their order are the kubelet's: Admit and
generalFilter of lifecycle/predicate.go, AdmissionCheck of the scheduler's
eventhandlers.go. docs/statuses.md says what of it means nothing here.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

from wasm_node.agent.model import desired, environment, manifest, observed, quantity
from wasm_node.agent.plan import affinity, node, taints

_EVERY = "0.0.0.0"  # noqa: S104  # nothing is bound here
_STORAGE = "ephemeral-storage"
_BY_NODE = ("NodeAffinity", "TaintToleration")
_SHUTTING_DOWN = observed.Rejected("NodeShutdown", "Pod was rejected as the node is shutting down.")


def at_shutdown(*, ending: bool) -> observed.Rejected | None:
    """Return why no pod may come; as Admit of nodeshutdown_manager_linux.go."""
    return _SHUTTING_DOWN if ending else None


def admit(
    pod: desired.DesiredPod,
    others: Iterable[desired.DesiredPod],
    allocatable: environment.Allocatable,
    on: manifest.Node,
) -> observed.Rejected | None:
    """Return the first reason why it cannot be beside the others, if any."""
    there = [each for each in others if each.ref.uid != pod.ref.uid and not each.finished]
    found = itertools.chain(
        _of_system(pod),
        _of_room(pod, there, allocatable, on),
        _of_labels(pod, on),
        _of_ports(pod, there),
        _of_taints(pod, on),
    )
    return next(found, None)


def is_by_node(rejected: observed.Rejected) -> bool:
    """
    Say whether it is for labels or taints, which may be others by now.

    A kubelet, which watches its Node, reads it once more for labels alone.
    """
    return rejected.reason in _BY_NODE


def _failed(predicate: str, why: str) -> observed.Rejected:
    return observed.Rejected(predicate, f"Predicate {predicate} failed: {why}")


def _of_system(pod: desired.DesiredPod) -> Iterator[observed.Rejected]:
    """
    By the pod's own label and field, whatever the Node says of itself.

    NB: the label is one of the pod's `metadata`; what it has of that name in
    its nodeSelector is a label of the Node as any other.
    """
    if pod.metadata.labels.get(node.SYSTEM_LABEL, node.SYSTEM) != node.SYSTEM:
        yield observed.Rejected(
            "PodOSSelectorNodeLabelDoesNotMatch",
            f"Failed to admit pod as the `{node.SYSTEM_LABEL}` label doesn't match node label",
        )
    if pod.os not in ("", node.SYSTEM):
        yield observed.Rejected(
            "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
        )


def _of_room(
    pod: desired.DesiredPod,
    there: Sequence[desired.DesiredPod],
    allocatable: environment.Allocatable,
    on: manifest.Node,
) -> Iterator[observed.Rejected]:
    """As Fits of the scheduler's noderesources."""
    asked, beside = pod.asks, [each.asks for each in there]
    rows = [
        ("pods", 1, len(beside), allocatable.pods),
        ("cpu", asked.cpu_millis, sum(each.cpu_millis for each in beside), allocatable.cpu_millis),
        (
            "memory",
            asked.memory_bytes,
            sum(each.memory_bytes for each in beside),
            allocatable.memory_bytes,
        ),
    ]
    if _STORAGE in on.status.allocatable:  # else nobody has told it yet
        disk = quantity.ceiling(on.status.allocatable[_STORAGE])
        used = sum(each.storage_bytes for each in beside)
        rows.append((_STORAGE, asked.storage_bytes, used, disk))
    for name, wanted, used, capacity in rows:
        if wanted and used + wanted > capacity:
            yield observed.Rejected(
                f"OutOf{name}",
                f"Node didn't have enough resource: {name}, "
                f"requested: {wanted}, used: {used}, capacity: {capacity}",
            )


def _of_labels(pod: desired.DesiredPod, on: manifest.Node) -> Iterator[observed.Rejected]:
    if not affinity.matches(pod, on):
        yield _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _of_ports(
    pod: desired.DesiredPod, there: Sequence[desired.DesiredPod]
) -> Iterator[observed.Rejected]:
    """As Fits of the scheduler's nodeports; says which port, and whose."""
    for each in there:
        for taken in _conflicts(pod, each):
            yield _failed(
                "NodePorts",
                "node(s) didn't have free ports for the requested pod ports: "
                f"{taken.protocol} {taken.host_port} is already that of "
                f"pod {each.ref.namespace}/{each.ref.name}",
            )


def _of_taints(pod: desired.DesiredPod, on: manifest.Node) -> Iterator[observed.Rejected]:
    """Others than NoExecute are the scheduler's alone."""
    for each in on.spec.taints:
        if each.effect == "NoExecute" and not taints.tolerates(pod.tolerations, each):
            yield _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")


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
