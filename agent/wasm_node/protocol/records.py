"""
What one attempt of one container is, and how it ended: the two files on disk.

The agent writes `spec.json` before it asks for a start; the runtime writes
`exit.json` once the attempt is over. Both lie in the attempt's directory, so
that either program can be killed at any time and find all it needs again.
An attempt runs at most once in its life: a restart is a new attempt.
"""

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any, Self

CRITICAL_PRIORITY = 2_000_000_000
"""SystemCriticalPriority: pods from here up are critical to their cluster."""


class EndedBy(enum.StrEnum):
    """Who ended an attempt: a recorded fact, never inferred from a number."""

    ITSELF = "itself"
    """The guest returned, called proc_exit, or trapped."""
    STOP = "stop"
    """We were asked to stop it and it did not end by itself first."""
    SHUTDOWN = "shutdown"
    """The same, and it was the runtime itself that was told to end."""
    MEMORY = "memory"
    """It was ended for its memory: by the kernel's cgroup, or by its limit."""
    CRASH = "crash"
    """Its process died by a signal that nobody here sent."""
    NEVER_STARTED = "never-started"
    """The runtime could not bring it up: `reason` and `message` say why."""
    UNKNOWN = "unknown"
    """Nobody saw the end (the host or the whole runtime went away)."""


@dataclasses.dataclass(frozen=True)
class AttemptId:
    """One run of one container of one pod; the attempt counts from 0."""

    pod_uid: str
    container: str
    attempt: int

    def __str__(self) -> str:
        """Return the id as it stands in containerIDs and in paths."""
        return f"{self.pod_uid}/{self.container}/{self.attempt}"


@dataclasses.dataclass(frozen=True)
class Mount:
    """A directory of the host that the guest sees under another path."""

    host_path: str
    guest_path: str
    read_only: bool


@dataclasses.dataclass(frozen=True)
class HostPort:
    """A port beside a container's own; an empty address is that of those."""

    address: str
    port: int


@dataclasses.dataclass(frozen=True)
class Http:
    """
    How a container serves HTTP: one whose program asks for that.

    Attributes:
        mode: `proxy`, a component that exports a handler of wasi:http, or
            `wagi`, a module that is run once per request as by CGI.
        owner: whose port it is; attempts of one owner share it.
        ports: TCP ports; all serve the same.
        reuse: requests that one instance serves, one after another.
        concurrency: requests at a time; more are answered 503.
        timeout_s: of a request until its response's head; then 504.
        max_body_bytes: of a request; a longer one is answered 413.
        max_header_bytes: of a request; more is answered 431.
        idle_s: after so long without a request its memory is given back.
        linger_s: how long, once told to end, it goes on accepting at most.
        host_ports: more that serve the same.
    """

    mode: str
    owner: str
    ports: tuple[int, ...]
    reuse: int
    concurrency: int
    timeout_s: float
    max_body_bytes: int
    max_header_bytes: int
    idle_s: float
    linger_s: float
    host_ports: tuple[HostPort, ...] = ()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Make one of decoded JSON; TypeError and KeyError where it is none."""
        beside = tuple(HostPort(**each) for each in fields.get("host_ports", ()))
        return cls(**{**fields, "ports": tuple(fields["ports"]), "host_ports": beside})


@dataclasses.dataclass(frozen=True)
class Grants:
    """
    What a container may reach of the network; nothing else.

    A name is good for the public addresses that it resolves to; for loopback,
    link-local and private ones a grant of the address is needed as well.

    Attributes:
        outgoing_http: whom it may ask by wasi:http: `host`, `*.host`, address
            or CIDR, each with `:port` (or `:*`); without it 80 and 443.
        connect: where its sockets may connect and send to: address or CIDR,
            each with `:port` (or `:*`).
        listen: ports that its sockets may listen on.
        dns: whether it may look names up by itself.
    """

    outgoing_http: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    listen: tuple[int, ...] = ()
    dns: bool = False

    def reaches(self) -> bool:
        """Say whether it grants more than ports of the guest's own."""
        return bool(self.outgoing_http or self.connect or self.dns)


@dataclasses.dataclass(frozen=True)
class Denial:
    """
    Something of the network that a guest wanted and may not have.

    Attributes:
        what: `ask` (by HTTP), `connect`, `send`, `receive`, `listen`, `accept`
            or `resolve`; what would allow it depends on that.
        words: for people, with the target in it, such as `connections to
            192.0.2.1:25`.
        command: the program beside the attempt whose guest it was; empty: the
            attempt's own.
    """

    what: str
    words: str
    command: str = ""

    @classmethod
    def from_fields(cls, raw: Mapping[str, Any]) -> Self:
        """
        Read one out of JSON.

        A guest and a manifest choose what is named in it: what is not to be
        printed is escaped, so that it can be shown in a line of a log.

        Raises:
            KeyError, TypeError: it is none.
        """
        given = (raw["what"], raw["words"], raw.get("command", ""))
        return cls(*(_printable(str(each)) for each in given))


@dataclasses.dataclass(frozen=True)
class ContainerSpec:
    """
    All that the runtime needs to run one attempt.

    Attributes:
        id: which attempt this is.
        pod_namespace: for names in process titles and messages.
        pod_name: likewise.
        module_path: the .wasm (or .wat) file on the host; absolute.
        module_digest: `sha256:...` of its bytes; key of the compile cache.
        argv: what the guest sees, argv[0] included.
        env: the guest's environment, in order, names unique.
        mounts: directories opened for the guest; nothing else is visible.
        log_path: the CRI log file this attempt appends to; absolute.
        memory_limit_bytes: bound of linear memory, and with some room of the
            process where a cgroup may be made; None is no bound.
        cpu_limit_millis: CPU bound in thousandths of a core, where a cgroup
            may be made; None is no bound.
        stop_grace_s: seconds that it is worth waiting for its own end when
            the node shuts down; None is as many as there are. With 0 it is
            of no use to wait for, whoever stops it.
        priority: of its pod: who goes first when the node shuts down.
        pre_stop_s: seconds that it has to end, where it has a preStop hook;
            when the node shuts down the agent, which calls it, is waited for
            so long at most. 0: it has none.
        ends_after: containers of its pod that end before it does when the
            node shuts down: a sidecar's.
        http: how it serves HTTP; None: it does not.
        grants: what it may reach of the network; None is nothing.
        message_file: name of the file in its directory `message/`, one of the
            mounts, whose end is part of the message; empty: there is none.
        message_from_log: where it fails, and has left that file empty, the
            end of its log is.
    """

    id: AttemptId
    pod_namespace: str
    pod_name: str
    module_path: str
    module_digest: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    log_path: str
    memory_limit_bytes: int | None
    cpu_limit_millis: int | None
    stop_grace_s: float | None = None
    http: Http | None = None
    grants: Grants | None = None
    message_file: str = ""
    message_from_log: bool = False
    priority: int = 0
    pre_stop_s: float = 0.0
    ends_after: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """Encode for `spec.json`."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """
        Decode `spec.json`.

        A field that is not known is passed over: it is of a newer agent, and
        one that must not be passed over raises `messages.VERSION`.

        Raises:
            ValueError: it is not a spec of this version.
        """
        known = {each.name for each in dataclasses.fields(cls)}
        read = _object(raw, "container spec")
        fields = {name: value for name, value in read.items() if name in known}
        http = fields.pop("http", None)
        grants = fields.pop("grants", None)
        try:
            return cls(
                grants=Grants(**{k: _frozen(v) for k, v in grants.items()}) if grants else None,
                http=Http.of(http) if http else None,
                id=AttemptId(**fields.pop("id")),
                argv=tuple(fields.pop("argv")),
                ends_after=tuple(fields.pop("ends_after", ())),
                env=tuple((name, value) for name, value in fields.pop("env")),
                mounts=tuple(Mount(**each) for each in fields.pop("mounts")),
                **fields,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"cannot read container spec: {error!r}") from error


@dataclasses.dataclass(frozen=True)
class ExitRecord:
    """
    How an attempt ended.

    Attributes:
        code: the exit code as kubectl shows it; the guest's own where it gave
            one, 143 after a stop, 137 for memory, 128+signal for a crash.
        ended_by: who ended it.
        reason: a CamelCase word for `state.terminated.reason`: Completed,
            Error, WasmTrap, OOMKilled, StartError, ContainerStatusUnknown.
        message: for people, at most 16 KiB; empty where the code says it all.
        started_at_ns: unix time in nanoseconds when the guest was entered, or
            when the start was given up.
        finished_at_ns: unix time in nanoseconds of the end.
    """

    code: int
    ended_by: EndedBy
    reason: str
    message: str
    started_at_ns: int
    finished_at_ns: int

    def to_json(self) -> bytes:
        """Encode for `exit.json`."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """
        Decode `exit.json`.

        Raises:
            ValueError: it is cut short, or not of this version.
        """
        return cls.from_fields(_object(raw, "exit record"))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """
        Make one of decoded JSON.

        Raises:
            ValueError: it is not of this version.
        """
        try:
            return cls(**{**fields, "ended_by": EndedBy(fields["ended_by"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"cannot read exit record: {error!r}") from error


def _printable(text: str) -> str:
    escaped = (x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)
    return "".join(escaped)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _object(raw: bytes, what: str) -> dict[str, Any]:
    decoded = json.loads(raw)
    if not isinstance(decoded, dict):
        raise ValueError(f"cannot read {what}: not a JSON object")
    return decoded
