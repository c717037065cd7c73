"""
What agent and runtime say to each other, as values.

A connection begins with Hello and its version; a runtime of version N serves
agents of N and N-1, since the two are upgraded apart. Each request carries a
sequence number that its reply repeats, so that a slow one (a compilation)
holds up nothing. After Subscribe, facts come in between, without a number, and
ENDING once the runtime has been told to end; the fact that a start brings about
always comes before that start's reply.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeAlias, get_args, get_origin

from wasm_node.protocol import layout, records

VERSION = 1
PAGE = 500
"""Facts in one reply to List, at most."""
NOT_RUNNING = "NotRunning"
"""Why an Exec is refused whose attempt does not run (yet, or any more)."""
ENDING: Mapping[str, Any] = {"ending": True}
"""To whoever has subscribed: nothing is started any more."""
STREAMS = 3
"""Descriptors that come with an Exec: stdin, stdout, stderr."""


@dataclasses.dataclass(frozen=True)
class Hello:
    """
    The first request.

    It is answered with the runtime's version, its Room, and its `life`: a word
    that no other runtime has, not even the next one in its place.
    """

    verb: ClassVar[str] = "hello"
    version: int


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Compile the module at `path`, whose bytes hash to `digest`."""

    verb: ClassVar[str] = "prepare"
    path: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Start:
    """Run the attempt whose spec.json lies in its directory."""

    verb: ClassVar[str] = "start"
    id: records.AttemptId


@dataclasses.dataclass(frozen=True)
class Stop:
    """Have the attempt end within so many seconds."""

    verb: ClassVar[str] = "stop"
    id: records.AttemptId
    grace_s: float


@dataclasses.dataclass(frozen=True)
class List:
    """One page of facts: those whose id, as text, comes behind `after`."""

    verb: ClassVar[str] = "list"
    after: str


@dataclasses.dataclass(frozen=True)
class Forget:
    """Drop all records of a pod of which nothing runs."""

    verb: ClassVar[str] = "forget"
    pod_uid: str


@dataclasses.dataclass(frozen=True)
class Subscribe:
    """
    Send facts from now on.

    Attributes:
        calls_hooks: it is an agent: once the runtime is told to end, it is
            waited for to call preStop hooks.
    """

    verb: ClassVar[str] = "subscribe"
    calls_hooks: bool = False


@dataclasses.dataclass(frozen=True)
class Exec:
    """
    Run a program beside a running attempt, in its sandbox, until it ends.

    The one request of its connection but for Hello. With its first byte come
    STREAMS descriptors (SCM_RIGHTS), which are the program's streams. What it
    may see and take is the attempt's, by its spec.json. The reply comes when
    it has ended; whoever hangs up before that has it killed.

    Attributes:
        id: of the running attempt.
        module_path: the program's file on this host; absolute.
        module_digest: `sha256:...` of its bytes.
        argv: what the program sees, argv[0] included.
        export: the exported function to call; empty is the program's start.
    """

    verb: ClassVar[str] = "exec"
    id: records.AttemptId
    module_path: str
    module_digest: str
    argv: tuple[str, ...]
    export: str


@dataclasses.dataclass(frozen=True)
class Usage:
    """Say how much is left of what pods share."""

    verb: ClassVar[str] = "usage"


@dataclasses.dataclass(frozen=True)
class Shares:
    """Say what running attempts use, in the order of ids, behind `after`."""

    verb: ClassVar[str] = "shares"
    after: str


@dataclasses.dataclass(frozen=True)
class Disk:
    """Measure what a pod's guests have on disk: volumes and last words."""

    verb: ClassVar[str] = "disk"
    pod_uid: str


@dataclasses.dataclass(frozen=True)
class Release:
    """Remove the volumes of a pod of which nothing runs; done means gone."""

    verb: ClassVar[str] = "release"
    pod_uid: str


@dataclasses.dataclass(frozen=True)
class Prune:
    """
    Remove compiled code whose module is no more; done means gone.

    Not of what runs, starts or compiles. A module is no more when it does not
    lie where it lay: so the agent says when to look, and need not name any.
    """

    verb: ClassVar[str] = "prune"


OfResources: TypeAlias = Usage | Shares | Disk | Release | Prune
"""Of what pods share, and what each of them has of it."""

Request: TypeAlias = Hello | Prepare | Start | Stop | List | Forget | Subscribe | Exec | OfResources
_REQUESTS: Mapping[str, type[Request]] = {each.verb: each for each in get_args(Request)}


Result: TypeAlias = Mapping[str, Any]
"""
What a reply holds: `facts`, `fact`, `room` and `life` (of Hello), `kind` (of
Prepare) or `exit` (of Exec); `memory` and `tasks` (of Usage, a Level each),
`shares` (of Shares), `disk` (of Disk); `freed` (of Prune, bytes).
"""

SERVERS = frozenset({"proxy", "service"})
"""Kinds of a program that answer HTTP requests: of WASI 0.2 and 0.3."""


@dataclasses.dataclass(frozen=True)
class Fact:
    """
    The state of one attempt that the runtime knows.

    Attributes:
        id: which attempt.
        pid: of its worker; 0 where there never was one.
        started_at_ns: unix time when the guest was entered.
        exit: how it ended; None while it runs.
        denied: what its guest, and those of programs beside it, wanted of the
            network and may not have; the first few.
        stop_by_ns: unix time until which the runtime, since it was told to
            end, waits for a Stop of it, so that its preStop hook is called
            before; 0: it does not wait.
        shutdown: it runs and is about to end, since the runtime was told to.
        earlier: it was begun by a runtime before this one, which went with all
            that it ran; one whose supervisor was replaced is the same.
    """

    id: records.AttemptId
    pid: int
    started_at_ns: int
    exit: records.ExitRecord | None
    denied: tuple[records.Denial, ...] = ()
    stop_by_ns: int = 0
    shutdown: bool = False
    earlier: bool = False

    def to_message(self) -> dict[str, Any]:
        """Return the JSON object of this fact."""
        return dataclasses.asdict(self)

    @classmethod
    def from_message(cls, raw: Mapping[str, Any]) -> Self:
        """
        Read a fact.

        Raises:
            ValueError: it is not one of this version.
        """
        try:
            ended = raw["exit"]
            return cls(
                id=records.AttemptId(**raw["id"]),
                pid=int(raw["pid"]),
                started_at_ns=int(raw["started_at_ns"]),
                exit=None if ended is None else records.ExitRecord.from_fields(ended),
                denied=tuple(records.Denial.from_fields(each) for each in raw.get("denied", ())),
                stop_by_ns=int(raw.get("stop_by_ns", 0)),
                shutdown=bool(raw.get("shutdown", False)),
                earlier=bool(raw.get("earlier", False)),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"cannot read fact: {error!r}") from error


@dataclasses.dataclass(frozen=True)
class Room:
    """
    What the runtime offers its pods in all; part of the reply to Hello.

    Attributes:
        engine: name and version of what runs guests, as in
            `wasmtime-py-50.0.1`.
        cpu_millis: thousandths of a core.
        memory_bytes: memory.
        pids_max: tasks, threads counted.
        address: the IP that guests' ports are on; empty: the host's.
        worlds: what guests may be written for, as in `wasi:cli/command@0.2`.
    """

    engine: str
    cpu_millis: int
    memory_bytes: int
    pids_max: int
    address: str = ""
    worlds: tuple[str, ...] = ()

    @classmethod
    def from_message(cls, raw: Mapping[str, Any]) -> Self:
        """Read it out of a reply; what a later runtime adds is passed over."""
        known = {each.name for each in dataclasses.fields(cls)}
        told = {name: value for name, value in raw.items() if name in known}
        return cls(**{**told, "worlds": tuple(raw.get("worlds", ()))})


@dataclasses.dataclass(frozen=True)
class Level:
    """
    How much is left of something.

    Attributes:
        available: what can still be used; bytes, or tasks.
        capacity: all of it.
    """

    available: int
    capacity: int


@dataclasses.dataclass(frozen=True)
class Share:
    """
    What a running attempt uses, as far as it would come back with its end.

    Attributes:
        id: which attempt.
        memory_bytes: its own pages; not those it shares with its parent.
        tasks: threads.
    """

    id: records.AttemptId
    memory_bytes: int
    tasks: int

    def to_message(self) -> dict[str, Any]:
        """Return the JSON object of this share."""
        return dataclasses.asdict(self)

    @classmethod
    def from_message(cls, raw: Mapping[str, Any]) -> Self:
        """
        Read a share.

        Raises:
            ValueError: it is not one of this version.
        """
        try:
            attempt = records.AttemptId(**raw["id"])
            return cls(attempt, int(raw["memory_bytes"]), int(raw["tasks"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"cannot read share: {error!r}") from error


@dataclasses.dataclass(frozen=True)
class DiskUse:
    """
    What lies on disk.

    Attributes:
        used_bytes: of blocks.
        inodes: files, directories and the like.
        whole: all of it was looked at; else it is at least that much.
    """

    used_bytes: int
    inodes: int
    whole: bool = True


@dataclasses.dataclass(frozen=True)
class PodDisk:
    """
    What a pod's guests have written to the disk, but for logs.

    Attributes:
        volumes: by name; one that no container has mounted is absent.
        last_words: the files of those that run, by container.
    """

    volumes: Mapping[str, DiskUse] = dataclasses.field(default_factory=dict)
    last_words: Mapping[str, DiskUse] = dataclasses.field(default_factory=dict)

    def to_message(self) -> dict[str, Any]:
        """Return the JSON object of it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_message(cls, raw: Mapping[str, Any]) -> Self:
        """
        Read it.

        Raises:
            ValueError: it is not one of this version.
        """
        try:
            return cls(_disks(raw["volumes"]), _disks(raw["last_words"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"cannot read what a pod has on the disk: {error!r}") from error


def _disks(raw: Mapping[str, Mapping[str, Any]]) -> Mapping[str, DiskUse]:
    return {name: DiskUse(**told) for name, told in raw.items()}


@dataclasses.dataclass(frozen=True)
class Refusal:
    """
    A request that was not done.

    Attributes:
        retry: the same request may go through later.
        reason: the CamelCase word for status and events.
        message: for people.
    """

    retry: bool
    reason: str
    message: str


def request(seq: int, wanted: Request) -> dict[str, Any]:
    """Return the message that asks for something."""
    return {"seq": seq, "verb": wanted.verb, **dataclasses.asdict(wanted)}


def parse_request(raw: Mapping[str, Any]) -> tuple[int, Request]:
    """
    Read a request and its sequence number.

    Raises:
        ValueError: it is none, or names what could not safely be a path.
    """
    fields = dict(raw)
    try:
        seq, verb = int(fields.pop("seq")), str(fields.pop("verb"))
        if verb not in _REQUESTS:
            raise ValueError(f"cannot do {verb!r}: this runtime does not know it")
        if "id" in fields:
            fields["id"] = layout.checked(records.AttemptId(**fields["id"]))
        if "pod_uid" in fields:
            layout.check_pod_uid(fields["pod_uid"])
        if "argv" in fields:
            fields["argv"] = _words(fields["argv"])
        parsed = _REQUESTS[verb](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"cannot read request: {error!r}") from error
    _check_types(parsed)
    return seq, parsed


def _words(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
        raise ValueError(f"cannot read request: argv is {raw!r}, and no list of texts")
    return tuple(raw)


def _check_types(parsed: Request) -> None:
    for field in dataclasses.fields(parsed):
        value = getattr(parsed, field.name)
        kind = get_origin(field.type) or field.type
        wanted = (int, float) if kind is float else kind
        is_odd = isinstance(value, bool) and kind is not bool
        if is_odd or not isinstance(value, wanted):  # type: ignore[arg-type]
            raise ValueError(f"cannot read request: {parsed.verb}'s {field.name} is {value!r}")


def done(seq: int, result: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the reply to a request that was done."""
    return {"re": seq, "ok": dict(result or {})}


def refused(seq: int, refusal: Refusal) -> dict[str, Any]:
    """Return the reply to a request that was not done."""
    return {"re": seq, "error": dataclasses.asdict(refusal)}
