"""
What is known of a chaos run, by witnesses that share nothing with the node.

The ledger (`ledger`) knows each run of a guest from the guest itself and from
the kernel; the record (`apirecord`) has the versions of all pods as the API
server gave them; the machine (`machine`) is asked what is left on it. Frozen
values, so that `audit` is a function of them.
"""

import dataclasses
from collections.abc import Mapping

from e2e.watching import Pod


@dataclasses.dataclass(frozen=True)
class Process:
    """A process, by what makes it unique, and how it is called."""

    pid: int
    began_ticks: int
    name: str


@dataclasses.dataclass(frozen=True)
class Run:
    """
    One run of a container, as its guest announced it.

    Times are of time.monotonic.

    Attributes:
        uid: of its pod, as its guest said.
        pod: NAMESPACE/NAME.
        container: its name.
        nonce: a number of the guest's own.
        process: at the other end of its connection, by the kernel's tables;
            None: it was gone before they were read.
        began: when it was heard of.
        told: the exit code that it was told to end with; None: it was not.
        ended: when the kernel closed its end; None: it lives.
        beside: nonces of runs of the same container whose process was alive
            at that moment.
        serves: it answers HTTP, and ends with 0 when it is told to.
        read: the number that it has found in the pod's volume; `-`: none, and
            empty: it did not look.
    """

    uid: str
    pod: str
    container: str
    nonce: str
    process: Process | None
    began: float
    told: int | None = None
    ended: float | None = None
    beside: tuple[str, ...] = ()
    serves: bool = False
    read: str = ""


@dataclasses.dataclass(frozen=True)
class Command:
    """
    One run of a program beside a container: a hook or a check by exec.

    Attributes:
        uid: of its pod, as its guest said.
        pod: NAMESPACE/NAME.
        container: the name of the one that it runs in.
        what: `postStart`, `preStop`, `startup` or `liveness`.
        nonce: a number of the guest's own.
        process: as of a Run.
        born: when its process began, by the kernel; of who was gone, when it
            was heard of.
        began: when it was heard of.
        told: the exit code that it was told to end with; None: it was not.
        ended: when the kernel closed its end; None: it lives.
    """

    uid: str
    pod: str
    container: str
    what: str
    nonce: str
    process: Process | None
    born: float
    began: float
    told: int | None = None
    ended: float | None = None


@dataclasses.dataclass(frozen=True)
class Ending:
    """How an attempt ended, in the words of a container's status."""

    attempt: int
    code: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Container:
    """
    A container's status.

    Attributes:
        attempt: the last word of its containerID; None before the first.
        restarts: restartCount.
        running: whether `state` says so.
        ready: as `ready` says.
        started: as `started` says.
        ending: `state.terminated`.
        last: `lastState.terminated`.
    """

    attempt: int | None
    restarts: int
    running: bool
    ending: Ending | None
    last: Ending | None
    ready: bool = False
    started: bool = False


@dataclasses.dataclass(frozen=True)
class Version:
    """
    One version of a pod.

    Attributes:
        at: when the record had it, of time.monotonic.
        uid: of the pod.
        name: NAMESPACE/NAME.
        workload: what it belongs to: its label `chaos`.
        gone: it is the last one.
        deleting: somebody asked for its deletion.
        phase: of its status.
        reason: of its status.
        restart: its restartPolicy.
        sidecars: names of init containers that run on.
        inits: names of all init containers, in their order.
        containers: statuses by name, those of init containers too.
        commands: what is run beside each container, by its manifest.
        grace_s: that it has to end, or would have.
        deadline_s: its activeDeadlineSeconds.
        begun: the node has said when it took the pod in.
    """

    at: float
    uid: str
    name: str
    workload: str
    gone: bool
    deleting: bool
    phase: str
    reason: str
    restart: str
    sidecars: frozenset[str]
    inits: tuple[str, ...]
    containers: Mapping[str, Container]
    commands: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    grace_s: float = 3.0
    deadline_s: float | None = None
    begun: bool = False

    def has(self, container: str, what: str) -> bool:
        """Say whether a container has such a hook or check by exec."""
        return what in self.commands.get(container, ())

    def policy(self, container: str) -> str:
        """Return the restart policy that a container lives under."""
        if container in self.sidecars:
            return "Always"
        if container in self.inits and self.restart == "Always":
            return "OnFailure"
        return self.restart


@dataclasses.dataclass(frozen=True)
class Kill:
    """A worker that the test itself has killed."""

    at: float
    process: Process


@dataclasses.dataclass(frozen=True)
class Event:
    """A line of the timeline."""

    at: float
    what: str


@dataclasses.dataclass(frozen=True)
class Machine:
    """
    What a machine shows of a node.

    Attributes:
        workers: processes of containers below the runtime.
        others: names of its other processes, the runtime's own.
        commands: how many seconds each process of a hook or check has run.
        pods: pod uids by where something of theirs was found: a path, mount,
            control group, ...
        strays: what belongs to no pod, and was not there before the first.
    """

    workers: frozenset[Process]
    others: tuple[str, ...]
    pods: Mapping[str, frozenset[str]]
    strays: frozenset[str] = frozenset()
    commands: Mapping[Process, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """
    What a workload comes to.

    Attributes:
        running: how many of its pods run, all their containers.
        completions: how many of its pods succeed; a Job's.
        reported: as many as that are in the Job's own status.
    """

    running: int = 0
    completions: int | None = None
    reported: int | None = None


@dataclasses.dataclass(frozen=True)
class Recording:
    """
    All that the audit looks at.

    Attributes:
        runs: in the order in which they began.
        versions: in the order in which they came.
        kills: of workers.
        forced: uids of pods that were deleted by force: nobody is owed their
            last status.
        wanted: by workload.
        machine: as it is now.
        deaths: when a killed runtime was about to be followed by another.
        commands: in the order in which they were heard of.
        breaks: when a part of the runtime was killed, or all of it; what ran
            beside containers has ended with that.
        at: when this was put together.
    """

    runs: tuple[Run, ...]
    versions: tuple[Version, ...]
    kills: tuple[Kill, ...]
    forced: frozenset[str]
    wanted: Mapping[str, Wanted]
    machine: Machine
    deaths: tuple[float, ...] = ()
    commands: tuple[Command, ...] = ()
    breaks: tuple[float, ...] = ()
    at: float = 0.0


def version(at: float, kind: str, pod: Pod) -> Version:
    """Read a version of a pod: `kind` is the watch's."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    inits = spec.get("initContainers", ())
    listed = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return Version(
        at,
        meta["uid"],
        f"{meta['namespace']}/{meta['name']}",
        meta.get("labels", {}).get("chaos", ""),
        gone=kind == "DELETED",
        deleting="deletionTimestamp" in meta,
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        restart=spec["restartPolicy"],
        sidecars=frozenset(x["name"] for x in inits if x.get("restartPolicy") == "Always"),
        inits=tuple(each["name"] for each in inits),
        containers={each["name"]: _container(each) for each in listed},
        commands={each["name"]: _commands(each) for each in (*inits, *spec["containers"])},
        grace_s=meta.get("deletionGracePeriodSeconds", spec["terminationGracePeriodSeconds"]),
        deadline_s=spec.get("activeDeadlineSeconds"),
        begun="startTime" in status,
    )


def _commands(container: Pod) -> frozenset[str]:
    given = {
        **container.get("lifecycle", {}),
        "startup": container.get("startupProbe", {}),
        "liveness": container.get("livenessProbe", {}),
    }
    return frozenset(what for what, how in given.items() if "exec" in how)


def _container(status: Pod) -> Container:
    state, last = status.get("state", {}), status.get("lastState", {})
    return Container(
        _attempt(status.get("containerID")),
        status["restartCount"],
        running="running" in state,
        ending=_ending(state.get("terminated")),
        last=_ending(last.get("terminated")),
        ready=status["ready"],
        started=status.get("started") or False,
    )


def _attempt(container_id: str | None) -> int | None:
    return int(container_id.rpartition("/")[2]) if container_id else None


def _ending(terminated: Pod | None) -> Ending | None:
    if not terminated:
        return None
    attempt = _attempt(terminated.get("containerID"))
    if attempt is None:  # the API server's own words for what no node reported
        return None
    return Ending(attempt, terminated["exitCode"], terminated.get("reason", ""))
