"""
What to report of one pod: observed facts into `status`, as a kubelet words it.

Pure. The rules are the kubelet's: phases from pkg/kubelet/kubelet_pods.go
(getPhase), container states from kuberuntime and convertToAPIContainerStatuses,
conditions from pkg/kubelet/status/generate.go. A condition keeps its transition
time for as long as its status stays the same.
"""

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias, assert_never

import msgspec

from wasm_node.agent.model import desired, durations, manifest, observed, podstatus, times
from wasm_node.agent.plan import images, last, order, pods, probes, restarts
from wasm_node.protocol import records

_MESSAGES_BYTES = 12 * 2**10
"""Of a pod's endings, shared out among its containers."""

_Row: TypeAlias = tuple[str, str | None, str | None]
"""Status, reason and message of a condition."""


_RESET = "RestartingAllContainers"
_REMOVED = "The container is removed because RestartAllContainers in place"
_LATE = "Pod was active on the node longer than the specified deadline"
_SHUT_DOWN = "Pod was terminated in response to imminent node shutdown."
_SHUTDOWN = records.EndedBy.SHUTDOWN


@dataclasses.dataclass(frozen=True)
class _Why:
    """Why a pod has failed beside its containers' own endings."""

    reason: str = ""
    message: str = ""
    disruption: str = ""
    """What its DisruptionTarget says; empty: it was not the node's doing."""


_NOTHING = _Why()


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Where the pod is; empty is not known yet."""

    host_ip: str
    pod_ip: str


def status(
    wanted: desired.DesiredPod,
    seen: observed.ObservedPod,
    addresses: Addresses,
    *,
    previous: tuple[manifest.Condition, ...],
    now: float,
    is_last: bool = False,
) -> podstatus.PodStatus:
    """
    Return the pod's status; `previous` are its conditions so far.

    `is_last`: it is deleted and nothing of it runs: no other will follow. One
    that is finished already keeps its phase, and its reason and message, which
    are left out of what is returned.
    """
    if seen.rejected and not wanted.finished:
        return _rejected(wanted, seen, seen.rejected)
    containers = tuple(_container(wanted, each, seen, now) for each in wanted.containers)
    told = _as_told(wanted, seen)
    inits = tuple(_container(wanted, each, told, now) for each in wanted.init_containers)
    extra = tuple(_ephemeral(wanted, each, seen, now) for each in wanted.ephemeral_containers)
    due = _due_phase(wanted, seen, now)
    phase = _phase(wanted, seen, due)
    if is_last or last.is_over(wanted, seen):
        due = phase = last.phase(phase)
        containers = last.containers(wanted, seen, containers)
        inits = last.init_containers(inits)
    why = _why_failed(wanted, seen, now) if phase == "Failed" else _NOTHING
    return podstatus.PodStatus(
        phase=phase,
        conditions=_conditions(wanted, seen, inits, containers, (phase, due), why, previous, now),
        container_statuses=_by_name(containers),
        init_container_statuses=inits,
        ephemeral_container_statuses=_by_name(extra),
        observed_generation=wanted.generation,
        start_time=times.rfc3339(seen.started_at),
        host_ip=addresses.host_ip,
        host_ips=_ips(addresses.host_ip),
        pod_ip=addresses.pod_ip,
        pod_ips=_ips(addresses.pod_ip),
        qos_class=wanted.qos_class,
        reason=why.reason,
        message=why.message,
    )


def _by_name(
    told: tuple[podstatus.ContainerStatus, ...],
) -> tuple[podstatus.ContainerStatus, ...]:
    """As normalizeStatus (status_manager.go); init containers stay in order."""
    return tuple(sorted(told, key=lambda each: each.name))


def _why_failed(wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float) -> _Why:
    if wanted.finished:
        return _NOTHING
    if seen.evicted:
        why = seen.evicted
        disruption = "" if why.disruption is None else why.disruption or why.message
        return _Why(why.reason, why.message, disruption)
    if _is_late(wanted, seen, now):
        return _Why("DeadlineExceeded", _LATE)
    ends = [each.current for each in seen.containers.values()]
    if any(isinstance(x, observed.Ended) and x.exit.ended_by is _SHUTDOWN for x in ends):
        return _Why("Terminated", _SHUT_DOWN, _SHUT_DOWN)
    return _NOTHING


def _rejected(
    wanted: desired.DesiredPod, seen: observed.ObservedPod, why: observed.Rejected
) -> podstatus.PodStatus:
    """As rejectPod: no more is said than that, when and why."""
    return podstatus.PodStatus(
        phase="Failed",
        conditions=(),
        container_statuses=(),
        observed_generation=wanted.generation,
        start_time=times.rfc3339(seen.started_at),
        qos_class=wanted.qos_class,
        reason=why.reason,
        message=f"Pod was rejected: {why.message}",
    )


def _ips(address: str) -> tuple[podstatus.Address, ...]:
    return (podstatus.Address(address),) if address else ()


def _due_phase(wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float) -> str:
    """As getPhase, and ShouldEvict of a deadline: what conditions go by."""
    if wanted.finished:
        return wanted.status.phase
    if _is_late(wanted, seen, now) or order.has_failed_to_begin(wanted, seen):
        return "Failed"
    if seen.running:
        return _living_phase(wanted, seen)
    if seen.evicted:
        return "Failed"
    well = order.outcome(wanted, seen)
    if well is not None:
        return "Succeeded" if well else "Failed"
    return _living_phase(wanted, seen)


def _phase(wanted: desired.DesiredPod, seen: observed.ObservedPod, due: str) -> str:
    """As mergePodStatus: what is due is told once nothing runs any more."""
    if due == "Failed" and seen.running and not wanted.finished:
        return _living_phase(wanted, seen)
    return due


def _living_phase(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> str:
    begun = all(_has_begun(seen.container(each.name)) for each in wanted.containers)
    waits = order.is_beginning(wanted, seen)
    return "Running" if begun and not waits else "Pending"


def _as_told(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> observed.ObservedPod:
    """
    Return the pod with no init container back from an ending that is for good.

    One that has ended well runs again when the pod begins anew, and where its
    policy is not Always the API server takes no status that says so
    (ValidateInitContainerStateTransition). A kubelet then writes none at all.
    """
    told = dict(seen.containers)
    for each in wanted.init_containers:
        known = seen.container(each.name)
        if isinstance(known.current, observed.Running) and _was_for_good(wanted, each, known):
            told[each.name] = dataclasses.replace(known, current=known.last, last=None)
    return dataclasses.replace(seen, containers=told)


def _was_for_good(
    wanted: desired.DesiredPod,
    container: desired.DesiredContainer,
    seen: observed.ObservedContainer,
) -> bool:
    """Say whether what is told of an init container now has to be an ending."""
    if container not in wanted.init_containers or seen.last is None or wanted.may_reset:
        return False
    usual = wanted.restart_policy is desired.RestartPolicy.ALWAYS and not container.own_policy
    return not usual and not restarts.is_expected(container, seen.last)


def _has_begun(seen: observed.ObservedContainer) -> bool:
    """Say whether it has ever run, as far as is told."""
    return seen.current is not None and not (seen.settles and seen.last is None)


def _is_late(wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float) -> bool:
    """Say whether its deadline came before its end."""
    deadline = pods.deadline_at(wanted, seen)
    if deadline is None or now < deadline:
        return False
    ends = [seen.container(each.name).current for each in wanted.containers]
    in_time = all(isinstance(each, observed.Ended) and each.finished_at < deadline for each in ends)
    return not (in_time and order.outcome(wanted, seen) is not None)


def _container(
    wanted: desired.DesiredPod,
    container: desired.DesiredContainer,
    pod: observed.ObservedPod,
    now: float,
) -> podstatus.ContainerStatus:
    seen = pod.container(container.name)
    most = _MESSAGES_BYTES // len(wanted.all_containers)
    states = _states(wanted, container, pod, now)
    state, last = (_bounded(each, most) for each in states)
    return podstatus.ContainerStatus(
        name=container.name,
        image=images.named(container, seen),
        image_id=images.image_id(container, seen),
        container_id=probes.container_id(seen.current.id) if seen.current else "",
        ready=_is_ready(wanted, container, pod),
        started=probes.is_started(container, seen, wanted.status),
        restart_count=seen.current.id.attempt if seen.current else 0,
        state=state,
        last_state=last,
    )


def _ephemeral(
    wanted: desired.DesiredPod,
    container: desired.DesiredContainer,
    pod: observed.ObservedPod,
    now: float,
) -> podstatus.ContainerStatus:
    """As UpdatePodStatus, which passes over it: neither ready nor started."""
    made = _container(wanted, container, pod, now)
    return msgspec.structs.replace(made, ready=False, started=msgspec.UNSET)


def _bounded(state: podstatus.State, most: int) -> podstatus.State:
    """Cut the message of an ending, as normalizeStatus (status_manager.go)."""
    ended = state.terminated
    if ended is None or len(ended.message.encode()) <= most:
        return state
    message = ended.message.encode()[:most].decode(errors="ignore")
    return podstatus.State(terminated=msgspec.structs.replace(ended, message=message))


def _is_ready(
    wanted: desired.DesiredPod, container: desired.DesiredContainer, pod: observed.ObservedPod
) -> bool:
    """As UpdatePodStatus: an init container is ready once it is complete."""
    if container in wanted.init_containers and not container.sidecar:
        return order.is_complete(wanted, container, pod)
    return probes.is_ready(container, pod.container(container.name), wanted.status)


def _states(
    wanted: desired.DesiredPod,
    container: desired.DesiredContainer,
    pod: observed.ObservedPod,
    now: float,
) -> tuple[podstatus.State, podstatus.State]:
    """Return state and lastState."""
    seen = pod.container(container.name)
    earlier = _ended_so(seen, seen.last) if seen.last else podstatus.State()
    match seen.current:
        case None:
            return podstatus.State(waiting=_waiting(wanted, container, seen)), earlier
        case observed.Running() if seen.settles:  # a kubelet has not looked yet, either
            return podstatus.State(waiting=_waiting(wanted, container, seen)), earlier
        case observed.Running(started_at=started_at):
            running = podstatus.RunningState(times.rfc3339(started_at))
            return podstatus.State(running=running), earlier
        case observed.Ended() as ended:
            if wanted.deleting or wanted.finished or pod.evicted:  # it is not restarted
                return _terminated(ended), earlier
            waiting = _waiting_again(wanted, container, pod, ended, now)
            ended_so = _ended_so(seen, ended)
            return (podstatus.State(waiting=waiting), ended_so) if waiting else (ended_so, earlier)
        case never:
            assert_never(never)


def _waiting_again(
    wanted: desired.DesiredPod,
    container: desired.DesiredContainer,
    pod: observed.ObservedPod,
    ended: observed.Ended,
    now: float,
) -> podstatus.Waiting | None:
    """Return what one that has ended waits for; None: that is how it is."""
    seen = pod.container(container.name)
    start = restarts.next_start(container, seen)
    if start is None or _was_for_good(wanted, container, seen):
        return None
    if order.is_resetting(wanted, pod):  # not yet
        return None
    if seen.is_reset:
        return _waiting_anew(wanted, container, pod)
    if start.at <= now and seen.failing is None and not wanted.refusals:
        if restarts.is_expected(container, ended):
            return None
        seen = dataclasses.replace(seen, current=None)  # nothing to wait for
    return _waiting(wanted, container, seen)


def _waiting_anew(
    wanted: desired.DesiredPod, container: desired.DesiredContainer, pod: observed.ObservedPod
) -> podstatus.Waiting:
    """As convertToAPIContainerStatuses, of what was removed as all restarts."""
    seen = dataclasses.replace(pod.container(container.name), current=None)
    if seen.failing or wanted.refusals or not order.begins_anew(wanted, pod):
        return _waiting(wanted, container, seen)
    return podstatus.Waiting(_RESET, _REMOVED)


def _waiting(
    wanted: desired.DesiredPod,
    container: desired.DesiredContainer,
    seen: observed.ObservedContainer,
) -> podstatus.Waiting:
    if refusals := wanted.refusals or container.refusals:
        return podstatus.Waiting("UnsupportedPodSpec", desired.listed(refusals))
    if seen.failing is not None:
        return podstatus.Waiting(seen.failing.reason, seen.failing.message)
    if isinstance(seen.current, observed.Ended):
        wait = f"back-off {durations.shown(seen.backoff_s)} restarting failed"
        what = f"container={container.name} pod={wanted.ref.whole}"
        return podstatus.Waiting("CrashLoopBackOff", f"{wait} {what}")
    return podstatus.Waiting("PodInitializing" if wanted.init_containers else "ContainerCreating")


def _ended_so(seen: observed.ObservedContainer, ended: observed.Ended) -> podstatus.State:
    """
    Return how an attempt has ended, and why, where the restart of all did it.

    That is in a kubelet's words, who has them for all others, too, as it
    removes them. How those have ended is known here.
    """
    if ended.id.attempt in seen.resets and ended.exit.ended_by is records.EndedBy.STOP:
        exit_so = dataclasses.replace(ended.exit, code=137, reason=_RESET, message=_REMOVED)
        ended = dataclasses.replace(ended, exit=exit_so)
    return _terminated(ended)


def _terminated(ended: observed.Ended) -> podstatus.State:
    return podstatus.State(
        terminated=podstatus.Terminated(
            exit_code=ended.exit.code,
            reason=ended.exit.reason,
            message=ended.exit.message,
            started_at=times.rfc3339(ended.started_at),
            finished_at=times.rfc3339(ended.finished_at),
            container_id=probes.container_id(ended.id),
        )
    )


def _conditions(
    wanted: desired.DesiredPod,
    seen: observed.ObservedPod,
    inits: tuple[podstatus.ContainerStatus, ...],
    containers: tuple[podstatus.ContainerStatus, ...],
    phases: tuple[str, str],
    why: _Why,
    previous: tuple[manifest.Condition, ...],
    now: float,
) -> tuple[manifest.Condition, ...]:
    phase, due = phases
    sidecars = {each.name for each in wanted.sidecars}
    lasting = (*(each for each in inits if each.name in sidecars), *containers)
    containers_ready = _containers_ready(lasting, due)
    held = {each.type: each for each in previous}
    rows: dict[str, _Row] = {
        "PodReadyToStartContainers": _ready_to_start(wanted, seen, phase),
        "Initialized": _initialized(wanted, seen, due, held.get("Initialized")),
        "Ready": _ready(wanted, containers_ready),
        "ContainersReady": containers_ready,
        "PodScheduled": ("True", None, None),
    }
    if why.disruption:
        rows["DisruptionTarget"] = ("True", "TerminationByKubelet", why.disruption)
    made = [
        _condition(kind, *row, held.get(kind), wanted.generation, now) for kind, row in rows.items()
    ]
    if wanted.may_reset:
        made.append(_all_restarting(wanted, seen, due, held, now))
    return tuple(made)


def _all_restarting(
    wanted: desired.DesiredPod,
    seen: observed.ObservedPod,
    phase: str,
    held: Mapping[str, manifest.Condition],
    now: float,
) -> manifest.Condition:
    """As GenerateAllContainersRestartingCondition: of no generation."""
    row: _Row = ("False", None, None)
    if phase in ("Succeeded", "Failed"):
        row = ("False", "PodCompleted" if phase == "Succeeded" else "PodFailed", None)
    elif order.is_resetting(wanted, seen):
        said = "container exited with restart policy rule"
        row = ("True", "RestartAllContainersStarted", said)
    kind = "AllContainersRestarting"
    return _condition(kind, *row, held.get(kind), 0, now)


def _ready_to_start(wanted: desired.DesiredPod, seen: observed.ObservedPod, phase: str) -> _Row:
    """
    As GeneratePodReadyToStartContainersCondition.

    A kubelet makes a sandbox before it pulls an image. What is ready here by
    then is the pod's place; it is so once one of its containers was tried, and
    is so no more without the runtime that they were of.
    """
    known = seen.containers.values()
    tried = any(each.failing or order.has_place(wanted, each.current) for each in known)
    if tried and phase not in ("Succeeded", "Failed"):
        return "True", None, None
    ever = tried or any(each.current for each in known)
    said = "pod sandbox is not ready" if ever else "no pod sandbox exists"
    return "False", "PodSandboxNotReady", said


def _initialized(
    wanted: desired.DesiredPod,
    seen: observed.ObservedPod,
    phase: str,
    held: manifest.Condition | None,
) -> _Row:
    """As GeneratePodInitializedCondition: it is so for good, once it was."""
    if phase == "Succeeded":
        return "True", "PodCompleted", None
    incomplete = " ".join(
        each.name for each in wanted.init_containers if not order.is_complete(wanted, each, seen)
    )
    was = held is not None and held.status == "True"
    if not incomplete or was or order.has_begun(wanted, seen):
        return "True", None, None
    said = f"containers with incomplete status: [{incomplete}]"
    return "False", "ContainersNotInitialized", said


def _containers_ready(containers: tuple[podstatus.ContainerStatus, ...], phase: str) -> _Row:
    """As GenerateContainersReadyCondition."""
    if phase == "Succeeded":
        return "False", "PodCompleted", None
    if phase == "Failed":
        return "False", "PodFailed", None
    unready = " ".join(each.name for each in containers if not each.ready)
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: [{unready}]"
    return "True", None, None


def _ready(wanted: desired.DesiredPod, containers_ready: _Row) -> _Row:
    """As GeneratePodReadyCondition: the gates count once all containers are."""
    if containers_ready[0] != "True":
        return containers_ready
    held = {each.type: each.status for each in wanted.status.conditions}
    closed = [
        f'the status of pod readiness gate "{gate}" is not "True", but {held[gate]}'
        if gate in held
        else f'corresponding condition of pod readiness gate "{gate}" does not exist.'
        for gate in wanted.readiness_gates
        if held.get(gate) != "True"
    ]
    return ("False", "ReadinessGatesNotReady", ", ".join(closed)) if closed else containers_ready


def _condition(
    kind: str,
    value: str,
    reason: str | None,
    message: str | None,
    held: manifest.Condition | None,
    generation: int,
    now: float,
) -> manifest.Condition:
    kept = held.last_transition_time if held is not None and held.status == value else None
    return manifest.Condition(
        type=kind,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=kept or times.rfc3339(now),
        observed_generation=generation or None,
    )
