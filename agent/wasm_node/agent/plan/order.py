"""
In which order the containers of a pod begin and end.

Init containers begin one after the other, each when the one before it is
complete: it has ended well, or it is a sidecar and has started. The others
follow, all at once. At the end they go first, and then the sidecars, the last
one first; only their preStop hooks await no turn. The kubelet's
rules: computeInitContainerActions and killContainer of
kuberuntime_container.go, terminationOrdering, and KEP-753 for sidecars.

A pod whose runtime is no more begins anew, as on a kubelet one whose sandbox is
gone (computePodActions): all its init containers run once more, however they
have ended. One that never restarts anything goes on where it was.

So does a pod all of whose containers are to restart, since a rule of one says
so of its exit code (RestartAllContainers, KEP-5532), whatever its policy: it is
reset. First that is put on record. Then what runs of it is ended, one after the
other, without preStop hooks and with no more than the least time. Only when
nothing is left of what was, all begins again in order. That leaves ephemeral
containers as they are. The kubelet's rules: computePodActions and SyncPod.
"""

from collections.abc import Iterator

from wasm_node.agent.model import desired, observed
from wasm_node.agent.plan import probes, restarts
from wasm_node.protocol import records

LEAST_GRACE_S = 2.0
"""minimumGracePeriodInSeconds: of a container, however late it is told."""


def is_complete(
    pod: desired.DesiredPod, wanted: desired.DesiredContainer, seen: observed.ObservedPod
) -> bool:
    """Say whether an init container has done what the next one waits for."""
    known = seen.container(wanted.name)
    if wanted.sidecar:
        return probes.is_started(wanted, known, pod.status)
    if not isinstance(known.current, observed.Ended) or known.is_reset:
        return False
    return known.current.exit.code == 0


def has_begun(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether a container that is no init container has ever run."""
    return any(seen.container(each.name).current is not None for each in pod.containers)


def has_place(pod: desired.DesiredPod, current: observed.Fact | None) -> bool:
    """Say whether an attempt is of what is the pod's sandbox."""
    if pod.restart_policy is desired.RestartPolicy.NEVER:
        return current is not None
    return isinstance(current, observed.Running) or (current is not None and not current.earlier)


def counts(pod: desired.DesiredPod, seen: observed.ObservedContainer) -> bool:
    """Say whether a container's newest attempt is of the pod as it is."""
    if seen.is_reset:
        return isinstance(seen.current, observed.Running)  # till it has ended
    return has_place(pod, seen.current)


def is_repeated(
    pod: desired.DesiredPod, wanted: desired.DesiredContainer, seen: observed.ObservedPod
) -> bool:
    """Say whether an init container has to do once more what it has done."""
    if wanted not in pod.init_containers or wanted.sidecar or not is_complete(pod, wanted, seen):
        return False
    return not counts(pod, seen.container(wanted.name))


def is_beginning(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether an init container runs that all others wait for."""
    return not _is_initialized(pod, seen) and any(
        isinstance(seen.container(each.name).current, observed.Running)
        and not is_complete(pod, each, seen)
        for each in pod.init_containers
    )


def _is_initialized(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """As HasAnyActiveRegularContainerStarted: of now, not of ever."""
    return any(counts(pod, seen.container(each.name)) for each in pod.containers)


def to_keep_up(
    pod: desired.DesiredPod, seen: observed.ObservedPod
) -> Iterator[desired.DesiredContainer]:
    """Yield the containers that should run now, or should be begun."""
    yield from pod.ephemeral_containers  # whatever the others have come to
    if is_resetting(pod, seen):
        return
    if not _is_initialized(pod, seen):
        reached = _reached(pod, seen)
        for index, each in enumerate(pod.init_containers):
            done = is_complete(pod, each, seen) and not is_repeated(pod, each, seen)
            waits = index >= reached and not done
            if each.sidecar or waits:
                yield each
            if waits:
                return
    else:
        yield from pod.sidecars
    yield from pod.containers


def _reached(pod: desired.DesiredPod, seen: observed.ObservedPod) -> int:
    """Return the index of the last init container that has begun, as of now."""
    begun = (
        index
        for index, each in enumerate(pod.init_containers)
        if counts(pod, seen.container(each.name))
    )
    return max(begun, default=0)


def to_reset(pod: desired.DesiredPod, seen: observed.ObservedPod) -> tuple[records.AttemptId, ...]:
    """
    List the newest attempt of each container, once all are to restart.

    None are as long as an ending asks for it that was not put on record. Of a
    pod that is refused, none: nothing of it would begin again.
    """
    lasting = pod.init_containers + pod.containers
    known = {each.name: seen.container(each.name) for each in lasting}
    if pod.refusals or not any(restarts.resets(each, known[each.name]) for each in lasting):
        return ()
    return tuple(each.current.id for each in known.values() if each.current is not None)


def left_of_reset(pod: desired.DesiredPod, seen: observed.ObservedPod) -> list[observed.Running]:
    """List what still runs of a pod that was reset, first what ends first."""
    known = [seen.container(each.name) for each in pod.containers + pod.init_containers]
    reset = (each.current for each in known if each.is_reset)
    return [each for each in reset if isinstance(each, observed.Running)]


def is_resetting(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether all its containers are to restart, and not all have ended."""
    return bool(to_reset(pod, seen) or left_of_reset(pod, seen))


def begins_anew(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether it was reset, and nothing of it has begun since."""
    known = [seen.container(each.name) for each in pod.init_containers + pod.containers]
    return any(each.is_reset for each in known) and not any(counts(pod, each) for each in known)


def outcome(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool | None:
    """
    Say whether the pod has done its work well; None: it is not done.

    Sidecars do not count. Nothing is restarted in a pod that is deleted.
    """
    if has_failed_to_begin(pod, seen):
        return False
    well = True
    for each in pod.containers:
        known = seen.container(each.name)
        current = known.current
        if not isinstance(current, observed.Ended):
            return None
        if restarts.is_followed(each, known, current) and not pod.deleting:
            return None
        well = well and current.exit.code == 0
    return well


def has_failed_to_begin(pod: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether an init container has failed for good."""
    return any(_has_failed(each, seen) for each in pod.init_containers if not each.sidecar)


def _has_failed(wanted: desired.DesiredContainer, seen: observed.ObservedPod) -> bool:
    known = seen.container(wanted.name)
    if not isinstance(known.current, observed.Ended) or known.current.exit.code == 0:
        return False
    return not restarts.is_followed(wanted, known, known.current)


def running(
    pod: desired.DesiredPod, seen: observed.ObservedPod
) -> Iterator[tuple[desired.DesiredContainer, observed.Running]]:
    """Yield the containers that run, as `kubectl` lists them."""
    for each in pod.all_containers:
        current = seen.container(each.name).current
        if isinstance(current, observed.Running):
            yield each, current


def ends_after(pod: desired.DesiredPod, name: str) -> tuple[str, ...]:
    """
    Name the containers that end before one does (newTerminationOrdering).

    Before a sidecar, those are the pod's containers and the sidecars that come
    later; an ordinary init container or an ephemeral one holds nobody up.
    """
    sidecars = [each.name for each in pod.sidecars]
    if name not in sidecars:
        return ()
    later = sidecars[sidecars.index(name) + 1 :]
    return (*(each.name for each in pod.containers), *later)


def waits(pod: desired.DesiredPod, name: str, seen: observed.ObservedPod) -> bool:
    """Say whether others have to end first; none where all ends at once."""
    before = () if pod.ends_at_once else ends_after(pod, name)
    return any(isinstance(seen.container(each).current, observed.Running) for each in before)
