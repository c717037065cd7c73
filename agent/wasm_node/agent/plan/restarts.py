"""
When an ended container is started again, and how long that waits.

The kubelet's rules (kuberuntime_manager.go doBackOff, client-go's
flowcontrol.Backoff): the first restart is at once, then 10 s, doubling to
300 s or what the node's settings have (KEP-4603), counted from the end of the
last attempt; an attempt that ran for ten minutes starts the series anew. Each
attempt carries the wait that follows it, so that nothing needs to be
remembered elsewhere.

What is stopped to make way for the next attempt, as a probe has failed or its
image is another now, is followed within the same SyncPod, which knows no ending
but those before it. So the wait counts from the end of the attempt before: it
is over already where the one that is stopped lived longer. Else the SyncPod
only stops it; a later one asks its policy of how it has ended, and waits, as
after any other ending. The first stop finds no ending at all, and so begins no
series.

What a reset of its pod has done away with (RestartAllContainers) is no failure
either, but only another's: a kubelet has removed it, so that nothing is left to
wait after. The next attempt begins at once, and the series stays where it was.
"""

import dataclasses
from typing import assert_never

from wasm_node.agent.model import actions, desired, observed
from wasm_node.agent.plan import images
from wasm_node.protocol import records

FIRST_BACKOFF_S = 10.0
MAX_BACKOFF_S = 300.0
RESET_AFTER_S = 600.0
LEAST_ROUND_S = 1.0
"""
From one start to the next of what a reset of its pod begins again.

A kubelet waits for nothing there, but looks for endings once a second only
(relistPeriod of its pleg). Here what always ends so would end without a pause.
"""

_OF_IMAGES = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_OF_CONTAINERS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


@dataclasses.dataclass(frozen=True)
class Start:
    """
    The next attempt.

    Attributes:
        attempt: its number.
        at: unix seconds before which it must not begin.
        backoff_s: what the attempt after it waits.
    """

    attempt: int
    at: float
    backoff_s: float


def next_start(
    wanted: desired.DesiredContainer,
    seen: observed.ObservedContainer,
    most_s: float = MAX_BACKOFF_S,
    *,
    again: bool = False,
) -> Start | None:
    """
    Return the next attempt; None while one runs or none is due.

    `most_s`: the longest that a restart waits. `again`: it is to do once more
    what it has done well; that is no failure that something waits after.
    """
    match seen.current:
        case None:
            return Start(attempt=0, at=0.0, backoff_s=0.0)
        case observed.Running():
            return None
        case observed.Ended() as ended:
            return _restart(wanted, seen, ended, most_s, again=again)
        case never:
            assert_never(never)


def _restart(
    wanted: desired.DesiredContainer,
    seen: observed.ObservedContainer,
    ended: observed.Ended,
    most_s: float,
    *,
    again: bool,
) -> Start | None:
    if not again and not is_followed(wanted, seen, ended):
        return None
    backoff_s = 0.0 if again else _backoff_s(wanted, seen, ended)
    if seen.is_reset:
        return Start(ended.id.attempt + 1, ended.started_at + LEAST_ROUND_S, backoff_s)
    longer_s = min(max(FIRST_BACKOFF_S, 2 * backoff_s), most_s)
    attempt, at = ended.id.attempt + 1, ended.finished_at + backoff_s
    if _makes_way(wanted, seen, ended):
        return Start(attempt, 0.0, longer_s if _before(seen) else backoff_s)
    return Start(attempt, at if backoff_s else 0.0, longer_s)


def _backoff_s(
    wanted: desired.DesiredContainer, seen: observed.ObservedContainer, ended: observed.Ended
) -> float:
    """Return what is waited after an ending: none where the series is new."""
    ran_s = ended.finished_at - ended.started_at
    anew = ran_s > RESET_AFTER_S or images.is_changed(wanted, seen)  # GetBackoffKey
    return 0.0 if anew else seen.backoff_s


def _makes_way(
    wanted: desired.DesiredContainer, seen: observed.ObservedContainer, ended: observed.Ended
) -> bool:
    """Say whether the SyncPod that stopped it begins the next at once."""
    if seen.replaced != ended.id.attempt:
        return False
    before, waited_s = _before(seen), _backoff_s(wanted, seen, ended)
    return before is None or before.finished_at + waited_s <= ended.finished_at


def _before(seen: observed.ObservedContainer) -> observed.Ended | None:
    """Return the ending before the newest, if a kubelet still knew of it."""
    return None if seen.last is None or seen.last.id.attempt in seen.resets else seen.last


def failed(
    seen: observed.ObservedContainer, reason: str, message: str, *, now: float, image: str = ""
) -> observed.ObservedContainer:
    """
    Return the container after a failure to begin: tried again ever later.

    `image`: what could not be begun, as the manifest has it.
    """
    failures = seen.failing.failures + 1 if seen.failing else 1
    wait_s = min(FIRST_BACKOFF_S * 2 ** (failures - 1), MAX_BACKOFF_S)
    failing = observed.Failing(reason, message, failures, now + wait_s, image)
    return dataclasses.replace(seen, failing=failing, image=None)


def not_begun(wanted: desired.DesiredContainer, reason: str, message: str) -> actions.Event:
    """
    Return what a person should read of a failure to begin (startContainer).

    A kubelet says of an image only the reason, and why before that; of what
    comes later only why. Where the reason is ours alone, both are said.
    """
    said = f"{reason}: {message}"
    if reason in _OF_IMAGES:
        said = f"Error: {reason}"
    elif reason in _OF_CONTAINERS:
        said = f"Error: {message}"
    return actions.Event("Failed", said, warning=True, container=wanted.name)


def is_followed(
    wanted: desired.DesiredContainer, seen: observed.ObservedContainer, ended: observed.Ended
) -> bool:
    """
    Say whether one more attempt follows an ending.

    One that is stopped to make way for the next is followed whatever its policy
    says (computePodActions), even where it has ended by itself meanwhile; but
    not within its back-off. What is no more since its pod begins anew is
    followed, too.
    """
    whatever = ended.id.attempt in seen.resets or _makes_way(wanted, seen, ended)
    return whatever or wants_restart(wanted, ended)


def resets(wanted: desired.DesiredContainer, seen: observed.ObservedContainer) -> bool:
    """
    Say whether how it has ended restarts all containers of its pod.

    As ShouldAllContainersRestart (pkg/kubelet/container/helpers.go), which does
    not get to see what is followed within the SyncPod that stopped it.
    """
    ended = seen.current
    if not isinstance(ended, observed.Ended) or seen.is_reset:
        return False
    rule = wanted.restart_rule(ended.exit.code)
    if rule is None or not rule.whole_pod:
        return False
    return not _makes_way(wanted, seen, ended)


def wants_restart(wanted: desired.DesiredContainer, ended: observed.Ended) -> bool:
    """
    Say whether this ending is followed by another attempt.

    What was told to end as the runtime did has not finished, whatever it says
    then. Of any other ending its code tells, as to ShouldContainerBeRestarted.
    """
    told = ended.exit.ended_by is records.EndedBy.SHUTDOWN
    once_more = told and wanted.restart is desired.RestartPolicy.ON_FAILURE
    return once_more or is_expected(wanted, ended)


def is_expected(wanted: desired.DesiredContainer, ended: observed.Ended) -> bool:
    """
    Say whether the API server expects another attempt after this ending.

    Rules go first, then the policy (ContainerShouldRestart, KEP-5307). It lets
    no status go back from any other ending (ValidateContainerStateTransition).
    """
    if wanted.restart_rule(ended.exit.code) is not None:
        return True
    match wanted.restart:
        case desired.RestartPolicy.ALWAYS:
            return True
        case desired.RestartPolicy.ON_FAILURE:
            return ended.exit.code != 0
        case desired.RestartPolicy.NEVER:
            return False
        case never:
            assert_never(never)
