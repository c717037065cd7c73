"""
What a plan asks for. Each action is safe to repeat.

`loops.reconcile` performs them in order with one `match`; it decides nothing.
"""

import dataclasses
from typing import TypeAlias

from wasm_node.protocol import records


@dataclasses.dataclass(frozen=True)
class Event:
    """
    Something a person should be able to read in `kubectl describe`.

    Attributes:
        reason: the kubelet's word where it has one.
        message: what, where, what to do.
        warning: type Warning instead of Normal.
        container: the container concerned; empty is the pod.
    """

    reason: str
    message: str
    warning: bool = False
    container: str = ""


@dataclasses.dataclass(frozen=True)
class PullImage:
    """Have the image here and know the program in it."""

    container: str


@dataclasses.dataclass(frozen=True)
class DropImage:
    """Let go of an image that is wanted no more, and of why it failed."""

    container: str


@dataclasses.dataclass(frozen=True)
class StartContainer:
    """
    Begin one attempt.

    Attributes:
        container: its name.
        attempt: counts from 0; names the directory, so it can run only once.
        backoff_s: how long the next attempt waits if this one ends soon.
    """

    container: str
    attempt: int
    backoff_s: float


@dataclasses.dataclass(frozen=True)
class CallPostStart:
    """Have the hook of an attempt carried out, unless that is under way."""

    attempt: records.AttemptId


@dataclasses.dataclass(frozen=True)
class StopContainer:
    """
    Have a running attempt end.

    Attributes:
        attempt: which.
        grace_s: seconds until it is killed, from when this is asked first.
        why: for people.
        waits: others have to end before it, within that time; until then only
            its preStop hook is called.
    """

    attempt: records.AttemptId
    grace_s: float
    why: str
    waits: bool = False


@dataclasses.dataclass(frozen=True)
class NoteReplaced:
    """Put on record that one more attempt follows this, however it ends."""

    attempt: records.AttemptId


@dataclasses.dataclass(frozen=True)
class NoteReset:
    """Put on record that the pod begins anew after these newest attempts."""

    attempts: tuple[records.AttemptId, ...]


@dataclasses.dataclass(frozen=True)
class ForgetPod:
    """Nothing of it runs any more: remove the object and all that was kept."""


@dataclasses.dataclass(frozen=True)
class LookAgain:
    """Plan again at this time (unix seconds), and say why it waits."""

    at: float
    event: Event | None = None


Action: TypeAlias = (
    PullImage
    | DropImage
    | StartContainer
    | CallPostStart
    | StopContainer
    | NoteReplaced
    | NoteReset
    | ForgetPod
    | LookAgain
)
