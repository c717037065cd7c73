"""
What is said last of a pod that is deleted, when nothing of it runs any more.

The kubelet's rules (status_manager.go TerminatePod): its phase is terminal, as
controllers count on (a Job with podReplacementPolicy Failed waits for that),
and a container that never began, in a pod that was past its init containers,
is one whose ending is not known.
"""

from collections.abc import Sequence

import msgspec

from wasm_node.agent.model import desired, observed, podstatus
from wasm_node.agent.plan import order

_UNKNOWN = podstatus.State(
    terminated=podstatus.Terminated(
        exit_code=137,
        reason="ContainerStatusUnknown",
        message="The container could not be located when the pod was terminated",
        started_at=None,
        finished_at=None,
        container_id="",
    )
)

Statuses = tuple[podstatus.ContainerStatus, ...]


def phase(made: str) -> str:
    """Return the phase that it ends with."""
    return "Succeeded" if made == "Succeeded" else "Failed"


def containers(wanted: desired.DesiredPod, seen: observed.ObservedPod, made: Statuses) -> Statuses:
    """Return the statuses that its containers end with."""
    return _ended(made) if _is_initialized(wanted, seen) else made


def init_containers(made: Statuses) -> Statuses:
    """Return those of its init containers: of all up to the last that began."""
    begun = [index for index, each in enumerate(made) if each.container_id]
    upto = begun[-1] + 1 if begun else 1
    return _ended(made[:upto]) + made[upto:]


def _is_initialized(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """As hasPodInitialized; nothing runs, so that no sidecar counts."""
    inits = wanted.init_containers
    return not inits or order.has_begun(wanted, seen) or order.is_complete(wanted, inits[-1], seen)


def _ended(made: Sequence[podstatus.ContainerStatus]) -> Statuses:
    return tuple(
        each if each.state.terminated else msgspec.structs.replace(each, state=_UNKNOWN)
        for each in made
    )
