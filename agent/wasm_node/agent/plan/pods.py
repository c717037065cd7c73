"""
What to do next about one pod.

Planning is a pure function of the wanted pod, the observed pod and the time.
It awaits nothing, logs nothing and reads no clock, so every rule below is
tested with a table and not with a fake. The reconciler performs the actions
in order, observes, and plans again: an action must be safe to repeat, and no
plan may count on an earlier one having succeeded.
"""

from collections.abc import Iterator

from wasm_node.agent.model import actions, desired, observed
from wasm_node.agent.plan import restarts


def plan(
    wanted: desired.DesiredPod, seen: observed.ObservedPod, *, now: float
) -> list[actions.Action]:
    """
    List the actions that bring the pod closer to what is wanted.

    The empty list means "settled": nothing to do until either side changes.
    """
    if seen.forgotten:
        return []
    if wanted.deleting:
        return list(_tear_down(wanted, seen))
    if wanted.finished:  # by us, or by one who had the right: eviction, pod GC
        return list(_stop_all(wanted, seen))
    if wanted.refusals:
        return []
    return [act for each in wanted.containers for act in _bring_up(each, seen, now)]


def stop_grace(wanted: desired.DesiredPod) -> float:
    """
    Return how many seconds a guest gets to end by itself.

    Wasm has no signals: a guest cannot notice that it should end. One that
    would run for ever (restartPolicy Always) gains nothing by waiting; one
    that ends by itself may finish its work (docs/architecture.md, Stop).
    """
    return 0.0 if wanted.restart_policy is desired.RestartPolicy.ALWAYS else wanted.grace_s


def _bring_up(
    wanted: desired.DesiredContainer, seen: observed.ObservedPod, now: float
) -> Iterator[actions.Action]:
    container = seen.container(wanted.name)
    start = restarts.next_start(wanted.restart, container)
    if start is None:
        return
    due = max(start.at, container.failing.retry_at if container.failing else 0.0)
    if due > now:
        yield actions.LookAgain(due, _back_off(wanted) if start.at > now else None)
    elif container.image is None:
        yield actions.PullImage(wanted.name)  # the next plan starts it, once the image is here
    else:
        yield actions.StartContainer(wanted.name, start.attempt, start.backoff_s)


def _back_off(wanted: desired.DesiredContainer) -> actions.Event:
    said = f"Back-off restarting failed container {wanted.name}"
    return actions.Event("BackOff", said, warning=True, container=wanted.name)


def _tear_down(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> Iterator[actions.Action]:
    stops = _stop_all(wanted, seen)
    yield from stops
    if not stops:  # records and logs must outlive the last container
        yield actions.ForgetPod()


def _stop_all(
    wanted: desired.DesiredPod, seen: observed.ObservedPod
) -> list[actions.StopContainer]:
    # Containers that a changed manifest no longer names are stopped as well.
    return [
        actions.StopContainer(each.current.id, stop_grace(wanted))
        for each in seen.containers.values()
        if isinstance(each.current, observed.Running)
    ]
