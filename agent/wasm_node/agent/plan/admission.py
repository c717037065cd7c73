"""
Whether a pod that was bound to this node may run here.

The scheduler has seen to that already; a pod that names its node by itself has
not been there. Rules, words and their order are the kubelet's: Admit and
generalFilter of lifecycle/predicate.go, AdmissionCheck of the scheduler's
eventhandlers.go. docs/statuses.md says what of it means nothing here.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TypeAlias

from wasm_node.agent.model import desired, environment, manifest, observed, quantity, taken
from wasm_node.agent.plan import affinity, evictions, node, order, preemption, taints

Verdict: TypeAlias = observed.Rejected | preemption.Need | None
"""
Why a pod may not come; or of whom some have to end first, for one that is
critical; or that it may.
"""

_EVERY = "0.0.0.0"  # noqa: S104  # nothing is bound here
_BY_NODE = ("NodeAffinity", "TaintToleration")
_OUT_OF = "OutOf"
_SHUTTING_DOWN = observed.Rejected("NodeShutdown", "Pod was rejected as the node is shutting down.")


def at_shutdown(*, ending: bool) -> observed.Rejected | None:
    """Return why no pod may come; as Admit of nodeshutdown_manager_linux.go."""
    return _SHUTTING_DOWN if ending else None


@dataclasses.dataclass(frozen=True)
class Lacking:
    """There is too little room for a critical pod, and nothing else wrong."""

    amounts: preemption.Amounts


def admit(
    pod: desired.DesiredPod,
    beside: taken.Taken,
    allocatable: environment.Allocatable,
    on: manifest.Node,
) -> observed.Rejected | Lacking | None:
    """
    Return the first reason why it cannot be beside the others, if any.

    Room is no such reason for a critical pod as long as others can be made to
    end for it, and if it is the only one (HandleAdmissionFailure).
    """
    room = list(_of_room(pod, beside, allocatable, on))
    others_fail = itertools.chain(_of_labels(pod, on), _of_ports(pod, beside), _of_taints(pod, on))
    if not pod.is_critical:
        found = itertools.chain(_of_system(pod), (each.rejected for each in room), others_fail)
        return next(found, None)
    rejected = next(itertools.chain(_of_system(pod), others_fail), None)
    if rejected or not room:
        return rejected
    return Lacking({each.name: each.lacking for each in room})


def has_place(pod: desired.DesiredPod, seen: observed.ObservedPod | None) -> bool:
    """
    Say whether a pod counts for those that come.

    That is one that was taken in and takes room; or that the agent before has
    taken in, and this one is about to.
    """
    if pod.finished:
        return False
    if seen is None:
        return bool(pod.status.start_time)
    return not seen.rejected and takes_room(pod, seen)


def takes_room(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """
    Say whether anything of a pod runs, or will (IsPodKnownTerminated).

    That is over as soon as it is seen, before the API server has been told.
    """
    if seen.running:
        return True
    if pod.deleting or evictions.is_over(pod, seen):
        return False
    return not seen.containers or order.outcome(pod, seen) is None


def is_by_node(found: Verdict) -> bool:
    """
    Say whether it is by labels or taints, which may be others by now.

    That others have to end is so, too: there were none against the pod. A
    kubelet, which watches its Node, reads it once more for labels alone.
    """
    if isinstance(found, observed.Rejected):
        return found.reason in _BY_NODE
    return found is not None


def is_by_room(found: Verdict) -> bool:
    """Say whether it may be another one when others have ended."""
    if isinstance(found, observed.Rejected):
        return found.reason.startswith(_OUT_OF) or found.reason == preemption.REJECTED
    return found is not None


@dataclasses.dataclass(frozen=True)
class _Short:
    """A resource of which there is too little, in its own unit."""

    name: str
    wanted: int
    used: int
    capacity: int

    @property
    def lacking(self) -> int:
        """As GetInsufficientAmount."""
        return self.wanted - (self.capacity - self.used)

    @property
    def rejected(self) -> observed.Rejected:
        """As InsufficientResourceError."""
        return observed.Rejected(
            f"{_OUT_OF}{self.name}",
            f"Node didn't have enough resource: {self.name}, "
            f"requested: {self.wanted}, used: {self.used}, capacity: {self.capacity}",
        )


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
    beside: taken.Taken,
    allocatable: environment.Allocatable,
    on: manifest.Node,
) -> Iterator[_Short]:
    """As Fits of the scheduler's noderesources."""
    asked, used = pod.asks, beside.asks
    cpu, memory = allocatable.cpu_millis, allocatable.memory_bytes
    rows = [
        _Short(preemption.PODS, 1, beside.pods, allocatable.pods),
        _Short(preemption.CPU, asked.cpu_millis, used.cpu_millis, cpu),
        _Short(preemption.MEMORY, asked.memory_bytes, used.memory_bytes, memory),
    ]
    if preemption.STORAGE in on.status.allocatable:  # else nobody has told it yet
        disk = quantity.ceiling(on.status.allocatable[preemption.STORAGE])
        rows.append(_Short(preemption.STORAGE, asked.storage_bytes, used.storage_bytes, disk))
    return (each for each in rows if each.wanted and each.lacking > 0)


def _of_labels(pod: desired.DesiredPod, on: manifest.Node) -> Iterator[observed.Rejected]:
    if not affinity.matches(pod, on):
        yield _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _of_ports(pod: desired.DesiredPod, beside: taken.Taken) -> Iterator[observed.Rejected]:
    """As Fits of the scheduler's nodeports; says which port, and whose."""
    for each in beside.ports:
        if any(_is_conflict(wanted, each.port) for wanted in pod.host_ports()):
            yield _failed(
                "NodePorts",
                "node(s) didn't have free ports for the requested pod ports: "
                f"{each.port.protocol} {each.port.host_port} is already that of "
                f"pod {each.by.namespace}/{each.by.name}",
            )


def _of_taints(pod: desired.DesiredPod, on: manifest.Node) -> Iterator[observed.Rejected]:
    """Others than NoExecute are the scheduler's alone."""
    for each in on.spec.taints:
        if each.effect == "NoExecute" and not taints.tolerates(pod.tolerations, each):
            yield _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _is_conflict(wanted: manifest.Port, its: manifest.Port) -> bool:
    """As HostPortInfo.CheckConflict of kube-scheduler."""
    addresses = _address(wanted), _address(its)
    return taken.key(wanted) == taken.key(its) and (
        addresses[0] == addresses[1] or _EVERY in addresses
    )


def _address(port: manifest.Port) -> str:
    return port.host_ip or _EVERY
