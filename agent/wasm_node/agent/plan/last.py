"""
What is said last of a pod, when nothing of it runs any more.

That is so once it is deleted, and once it is in a terminal phase, whoever has
put it there. The kubelet's rules (status_manager.go TerminatePod): its phase is
terminal, as controllers count on (a Job with podReplacementPolicy Failed waits
for that), and a container that never began, in a pod that was past its init
containers, is one whose ending is not known.
"""

from collections.abc import Sequence

import msgspec

from wasm_node.agent.model import desired, observed, podstatus
from wasm_node.agent.plan import order, probes

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

_READINESS = ("Ready", "ContainersReady")

Statuses = tuple[podstatus.ContainerStatus, ...]


def is_untold(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """
    Say whether the API server lacks what is to be said of a finished pod.

    How each container that had begun ended, and till then that it is not ready
    (mergePodStatus); once nothing runs, of each that never began, that its
    ending is not known (TerminatePod). The rest was told with the phase.
    """
    begun = [each.current for each in seen.containers.values() if each.current is not None]
    for each in begun:
        if isinstance(each, observed.Ended):
            said = wanted.status.last_said(probes.container_id(each.id))
            if said is None or said.state.terminated is None:
                return True
    ready = any(x.type in _READINESS and x.status == "True" for x in wanted.status.conditions)
    if ready and begun:
        return True
    return is_over(wanted, seen) and _is_waiting_told(wanted, seen)


def _is_waiting_told(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """
    Say whether one that never began is still said to wait, or nothing is.

    Of a pod that was rejected no more is said than that; an earlier agent has
    told when, and nothing of containers.
    """
    status = wanted.status
    told = {x.name: x for x in (*status.init_container_statuses, *status.container_statuses)}
    if seen.rejected or (status.start_time and not told):
        return False
    begun = [seen.container(each.name).current is not None for each in wanted.init_containers]
    over = wanted.init_containers[: _reached(begun)]
    if _is_initialized(wanted, seen):
        over += wanted.containers
    for each in over:
        said = told.get(each.name)
        known = said is not None and (said.state.terminated or said.container_id)
        if seen.container(each.name).current is None and not known:
            return True
    return False


def is_over(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether it is finished and nothing of it runs."""
    return wanted.finished and not seen.running


def phase(made: str) -> str:
    """Return the phase that it ends with."""
    return "Succeeded" if made == "Succeeded" else "Failed"


def containers(wanted: desired.DesiredPod, seen: observed.ObservedPod, made: Statuses) -> Statuses:
    """Return the statuses that its containers end with."""
    return _ended(made) if _is_initialized(wanted, seen) else made


def init_containers(made: Statuses) -> Statuses:
    """Return those of its init containers: of all up to the last that began."""
    upto = _reached([bool(each.container_id) for each in made])
    return _ended(made[:upto]) + made[upto:]


def _reached(begun: Sequence[bool]) -> int:
    """Return how many are at an end: one at least (initializedContainers)."""
    return max((index + 1 for index, each in enumerate(begun) if each), default=1)


def _is_initialized(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """As hasPodInitialized; nothing runs, so that no sidecar counts."""
    inits = wanted.init_containers
    return not inits or order.has_begun(wanted, seen) or order.is_complete(wanted, inits[-1], seen)


def _ended(made: Sequence[podstatus.ContainerStatus]) -> Statuses:
    return tuple(
        each if each.state.terminated else msgspec.structs.replace(each, state=_UNKNOWN)
        for each in made
    )
