"""
What is: facts about containers and images, as the runtime and puller gave them.

Observed values never hold a wish or a decision. An attempt is Running until
its Ended is seen; both name the attempt, so that late news about an earlier
one cannot be mistaken for the present.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeAlias

from wasm_node.agent.model import image, probe
from wasm_node.protocol import records


@dataclasses.dataclass(frozen=True)
class Running:
    """
    An attempt whose guest has been entered; times are unix seconds.

    `denied`: what it wanted of the network and may not have, the first few.
    `stop_by`: until when the runtime, which ends, waits for us to stop it; 0:
    it does not wait. `shutdown`: it is about to end, since the runtime is.
    """

    id: records.AttemptId
    pid: int
    started_at: float
    denied: tuple[records.Denial, ...] = ()
    stop_by: float = 0.0
    shutdown: bool = False


@dataclasses.dataclass(frozen=True)
class Ended:
    """
    An attempt that is over, with its true ending.

    `earlier`: it was begun by a runtime that is no more, as a container in a
    sandbox that is gone.
    """

    id: records.AttemptId
    exit: records.ExitRecord
    denied: tuple[records.Denial, ...] = ()
    earlier: bool = False

    @property
    def started_at(self) -> float:
        """Unix seconds at which the guest was entered."""
        return self.exit.started_at_ns / 1e9

    @property
    def finished_at(self) -> float:
        """Unix seconds of the end."""
        return self.exit.finished_at_ns / 1e9


Fact: TypeAlias = Running | Ended


@dataclasses.dataclass(frozen=True)
class Away:
    """The runtime cannot be reached, for the reason that is given."""

    why: str


@dataclasses.dataclass(frozen=True)
class Ending:
    """The runtime was told to end; it starts nothing any more."""


News: TypeAlias = Sequence[Fact] | Fact | Ending | Away
"""
What comes from the runtime: all facts, one that is new, that it ends, or
nothing more.
"""


def facts(news: News) -> Sequence[Fact]:
    """Return the facts in it."""
    match news:
        case Running() | Ended():
            return (news,)
        case Ending() | Away():
            return ()
        case _:
            return news


@dataclasses.dataclass(frozen=True)
class ImageHere:
    """
    The image is in the store, its program found and compiled.

    Attributes:
        image_id: for `status.imageID`.
        program: what is to run.
        found: the whole image.
        serves: the program answers HTTP requests instead of being run.
    """

    image_id: str
    program: image.Program
    found: image.Image
    serves: bool = False


@dataclasses.dataclass(frozen=True)
class Made:
    """
    What an attempt is made of.

    Attributes:
        image: as the manifest had it then.
        image_id: for `status.imageID`.
    """

    image: str
    image_id: str


@dataclasses.dataclass(frozen=True)
class Failing:
    """
    Something before the start failed; it is tried again.

    Attributes:
        reason: for `state.waiting.reason`, e.g. ImagePullBackOff.
        message: for people.
        failures: in a row.
        retry_at: unix seconds before which it is not tried again.
        image: of the manifest that failed; empty is any.
    """

    reason: str
    message: str
    failures: int
    retry_at: float
    image: str = ""


@dataclasses.dataclass(frozen=True)
class ObservedContainer:
    """
    All that is known of one container.

    Attributes:
        current: the newest attempt, running or ended; None before the first.
        last: the ending of the attempt before the newest one.
        backoff_s: what the attempt after the newest one waits.
        image: None until pulled for the next attempt.
        failing: why the next attempt has not begun.
        verdicts: of the newest attempt's probes; True is passing, and what
            has no verdict yet is absent.
        settling: the number of the attempt whose postStart hook is not done; it
            counts as one that has not begun.
        unsettled: that hook has failed.
        made_of: the image of each attempt; of the last few.
        replaced: the attempt that is stopped to make way for the next, which
            follows it however it ends.
        resets: those attempts that were the newest when all containers of the
            pod were to restart: it goes on as if they had never been. The last
            two.
    """

    current: Fact | None = None
    last: Ended | None = None
    backoff_s: float = 0.0
    image: ImageHere | None = None
    failing: Failing | None = None
    verdicts: Mapping[probe.Kind, bool] = dataclasses.field(default_factory=dict)
    settling: int | None = None
    unsettled: bool = False
    made_of: Mapping[int, Made] = dataclasses.field(default_factory=dict)
    replaced: int | None = None
    resets: tuple[int, ...] = ()

    @property
    def is_reset(self) -> bool:
        """Whether its newest attempt has no part in the pod any more."""
        return self.current is not None and self.current.id.attempt in self.resets

    @property
    def settles(self) -> bool:
        """Whether it runs and its postStart hook is not done."""
        return isinstance(self.current, Running) and self.settling == self.current.id.attempt


@dataclasses.dataclass(frozen=True)
class Rejected:
    """
    The node did not take the pod, for good: reason and message.

    Its event has the message as it is, its status with the words before it
    that rejectPod (kubelet.go) puts there.
    """

    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Evicted:
    """
    The node has decided that the pod must go, for good.

    Attributes:
        message: why.
        grace_s: how long it has at most.
        at: unix seconds of the decision.
        reason: for `status.reason` and its event.
        disruption: the message of its DisruptionTarget; empty: the same one;
            None: it has no such condition, as it is the pod's own doing.
    """

    message: str
    grace_s: float
    at: float
    reason: str = "Evicted"
    disruption: str | None = ""


@dataclasses.dataclass(frozen=True)
class ObservedPod:
    """
    All that is known of one pod.

    Attributes:
        started_at: when this node first saw it (`status.startTime`).
        containers: by name; a container not seen yet is absent.
        forgotten: records, logs and the object are gone.
        rejected: why nothing of it is started, if so.
        evicted: why it has to end, if so.
    """

    started_at: float
    containers: Mapping[str, ObservedContainer] = dataclasses.field(default_factory=dict)
    forgotten: bool = False
    rejected: Rejected | None = None
    evicted: Evicted | None = None

    @property
    def running(self) -> tuple[Running, ...]:
        """All attempts that run, also of what no manifest names any more."""
        found = (each.current for each in self.containers.values())
        return tuple(each for each in found if isinstance(each, Running))

    def container(self, name: str) -> ObservedContainer:
        """Return what is known of one container; nothing at first."""
        known = self.containers.get(name)
        return ObservedContainer() if known is None else known

    def changed(self, name: str, change: Callable[[ObservedContainer], ObservedContainer]) -> Self:
        """Return the pod with one container replaced."""
        after = {**self.containers, name: change(self.container(name))}
        return dataclasses.replace(self, containers=after)
