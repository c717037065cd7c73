"""
What to do next about one pod.

Planning is a pure function of the wanted pod, the observed pod and the time.
It awaits nothing, logs nothing and reads no clock, so every rule below is
tested with a table and not with a fake. The reconciler performs the actions
in order, observes, and plans again: an action must be safe to repeat, and no
plan may count on an earlier one having succeeded.
"""

import dataclasses
from collections.abc import Iterator

from wasm_node.agent.model import actions, desired, observed
from wasm_node.agent.plan import images, order, probes, restarts


def plan(
    wanted: desired.DesiredPod,
    seen: observed.ObservedPod,
    *,
    now: float,
    most_backoff_s: float = restarts.MAX_BACKOFF_S,
    ending: bool = False,
) -> list[actions.Action]:
    """
    List the actions that bring the pod closer to what is wanted.

    The empty list means "settled": nothing to do until either side changes.
    `most_backoff_s` is the longest that a restart waits. `ending`: the runtime
    is; then nothing is begun, and who ends when is its decision.
    """
    if seen.forgotten:
        return []
    wanted = evicting(wanted, seen)
    if wanted.deleting:
        return list(_tear_down(wanted, seen, now))
    if seen.evicted:
        return list(_stop_all(wanted, seen, now))
    if wanted.finished:  # by us, or by one who had the right: eviction, pod GC
        return list(_stop_all(wanted, seen, now))
    if seen.rejected:
        return []
    if ending:
        return list(_stop_held(wanted, seen, now))
    if order.outcome(wanted, seen) is not None:  # sidecars may still run
        return list(_stop_all(wanted, seen, now))
    deadline = deadline_at(wanted, seen)
    if deadline is not None and deadline <= now:
        return list(_stop_all(wanted, seen, now))
    looks = [] if deadline is None else [actions.LookAgain(deadline)]
    if attempts := order.to_reset(wanted, seen):
        return [actions.NoteReset(attempts), *looks]
    due = order.to_keep_up(wanted, seen)
    kept = [act for each in due for act in _keep_up(wanted, each, seen, now, most_backoff_s)]
    return [*_end_for_reset(wanted, seen), *kept, *looks]


def deadline_at(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> float | None:
    """Return when its `activeDeadlineSeconds` are over; None: never."""
    return None if wanted.deadline_s is None else seen.started_at + wanted.deadline_s


def evicting(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> desired.DesiredPod:
    """Return the pod with no more time to end than an eviction leaves it."""
    if seen.evicted is None:
        return wanted
    return dataclasses.replace(wanted, grace_s=min(wanted.grace_s, seen.evicted.grace_s))


def stop_grace(pod: desired.DesiredPod, wanted: desired.DesiredContainer) -> float:
    """
    Return how many seconds a container that is a command gets to end by itself.

    Wasm has no signals: a guest cannot notice that it should end. One that
    would run for ever (restartPolicy Always) gains nothing by waiting; one
    that ends by itself may finish its work (docs/architecture.md, Stop) and has
    two seconds for that at least, as on a kubelet. What was added to look into
    the pod holds its end up by nothing.
    """
    if wanted.restart is desired.RestartPolicy.ALWAYS or wanted in pod.ephemeral_containers:
        return 0.0
    return max(pod.grace_s, order.LEAST_GRACE_S)


def stopping(name: str) -> str:
    """Return why a container is stopped with its pod (killContainer)."""
    return f"Stopping container {name}"


def _end_for_reset(
    wanted: desired.DesiredPod, seen: observed.ObservedPod
) -> Iterator[actions.StopContainer]:
    """
    Stop what is to end next of a pod that was reset, with no grace period.

    That is no time for a preStop hook (killContainer). The word is a kubelet's.
    """
    for each in order.left_of_reset(wanted, seen)[:1]:
        yield actions.StopContainer(each.id, 0.0, "killing")


def _keep_up(
    pod: desired.DesiredPod,
    wanted: desired.DesiredContainer,
    seen: observed.ObservedPod,
    now: float,
    most_backoff_s: float,
) -> Iterator[actions.Action]:
    container = seen.container(wanted.name)
    if wanted.refusals:
        return
    if isinstance(container.current, observed.Running):
        if _is_replaced(pod, wanted, container):
            yield from _replace(pod, wanted, container, container.current)
        else:
            yield from _keep_healthy(pod, wanted, container, container.current)
        return
    if pod.refusals:
        return  # what runs goes on by its own rules: annotations may change at any time
    again = order.is_repeated(pod, wanted, seen)
    if start := restarts.next_start(wanted, container, most_backoff_s, again=again):
        yield from _bring_up(pod, wanted, container, start, now)


def _is_replaced(
    pod: desired.DesiredPod, wanted: desired.DesiredContainer, seen: observed.ObservedContainer
) -> bool:
    """
    Say whether an attempt that runs is to make way for one of another image.

    As computePodActions and computeInitContainerActions: a sidecar once it has
    started; an ordinary init container ends by itself.
    """
    if seen.settles or not images.is_changed(wanted, seen):
        return False
    if wanted.sidecar:
        return probes.is_started(wanted, seen, pod.status)
    return wanted in pod.containers


def _replace(
    pod: desired.DesiredPod,
    wanted: desired.DesiredContainer,
    seen: observed.ObservedContainer,
    running: observed.Running,
) -> Iterator[actions.Action]:
    yield from _make_way(seen, running)
    what = "Init container" if wanted.sidecar else "Container"
    why = f"{what} {wanted.name} definition changed"
    if not wanted.sidecar:
        why += ", will be restarted"
    yield actions.StopContainer(running.id, pod.grace_s, why)


def _make_way(
    seen: observed.ObservedContainer, running: observed.Running
) -> Iterator[actions.NoteReplaced]:
    """NB: before the stop, so that no crash forgets that another follows."""
    if seen.replaced != running.id.attempt:
        yield actions.NoteReplaced(running.id)


def _keep_healthy(
    pod: desired.DesiredPod,
    wanted: desired.DesiredContainer,
    seen: observed.ObservedContainer,
    running: observed.Running,
) -> Iterator[actions.Action]:
    """
    As computePodActions and setTerminationGracePeriod.

    And computeInitContainerActions, which says of nothing that it restarts.
    """
    if seen.settles and seen.unsettled:
        yield actions.StopContainer(running.id, pod.grace_s, "FailedPostStartHook")
        return
    if seen.settles:  # by whichever agent it was begun
        yield actions.CallPostStart(running.id)
    failing = probes.unhealthy(wanted, seen)
    if failing is None:
        if seen.replaced == running.id.attempt:  # what was said is done, by whichever agent
            yield actions.StopContainer(running.id, pod.grace_s, stopping(wanted.name))
        return
    what = "Init container" if wanted.sidecar else "Container"
    why = f"{what} {wanted.name} failed {failing.kind.lower()} probe"
    if wanted.restart is not desired.RestartPolicy.NEVER:  # rules are not asked
        yield from _make_way(seen, running)
        why += "" if wanted.sidecar else ", will be restarted"
    grace_s = pod.grace_s if failing.grace_s is None else failing.grace_s
    yield actions.StopContainer(running.id, grace_s, why)


def _bring_up(
    pod: desired.DesiredPod,
    wanted: desired.DesiredContainer,
    container: observed.ObservedContainer,
    start: restarts.Start,
    now: float,
) -> Iterator[actions.Action]:
    due = max(start.at, container.failing.retry_at if container.failing else 0.0)
    if images.is_stale(wanted, container):
        yield actions.DropImage(wanted.name)  # the next plan fetches what is wanted now
    elif due > now:
        waits = start.at > now and not container.is_reset
        yield actions.LookAgain(due, _back_off(pod, wanted) if waits else None)
    elif container.image is None:
        yield actions.PullImage(wanted.name)  # the next plan starts it, once the image is here
    else:
        yield actions.StartContainer(wanted.name, start.attempt, start.backoff_s)


def _back_off(pod: desired.DesiredPod, wanted: desired.DesiredContainer) -> actions.Event:
    said = f"Back-off restarting failed container {wanted.name} in pod {pod.ref.whole}"
    return actions.Event("BackOff", said, warning=True, container=wanted.name)


def _tear_down(
    wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float
) -> Iterator[actions.Action]:
    stops = _stop_all(wanted, seen, now)
    yield from stops
    if not stops:  # records and logs must outlive the last container
        yield actions.ForgetPod()


def _stop_all(
    wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float
) -> list[actions.StopContainer]:
    """
    Stop all that runs of a pod of which all is to end.

    As killContainersWithSyncResult, all are asked at once. Who has to wait for
    others calls its hook meanwhile.
    """
    return [_stop(wanted, each, seen, now) for each in seen.running]


def _stop_held(
    wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float
) -> Iterator[actions.StopContainer]:
    """Stop what the runtime waits for us to, since it has a hook to call."""
    return (_stop(wanted, each, seen, now) for each in seen.running if each.stop_by)


def _stop(
    wanted: desired.DesiredPod, each: observed.Running, seen: observed.ObservedPod, now: float
) -> actions.StopContainer:
    name, grace_s = each.id.container, wanted.terminating().grace_s
    if each.stop_by:
        grace_s = min(grace_s, max(0.0, each.stop_by - now))
    waits = order.waits(wanted, name, seen)
    return actions.StopContainer(each.id, grace_s, stopping(name), waits)
