"""
Health checks of a container, parsed once at the edge, and what became of one.

`model.parsing` makes the probes of a container, `plan.probes` says when they
are due and what their results mean, `loops.probe` has them carried out by a
`Prober`. Names and thresholds are those of the API (core/v1 Probe).
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, assert_never

from wasm_node.agent.model import expansion, manifest

_PORTS = range(1, 65536)
_Read: TypeAlias = manifest.HttpGet | manifest.TcpSocket | manifest.Grpc | manifest.Exec


class Kind(enum.StrEnum):
    """What a probe decides; the words of the kubelet's events."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


class Scheme(enum.StrEnum):
    """How an httpGet speaks; no certificate is ever checked."""

    HTTP = "http"
    HTTPS = "https"


@dataclasses.dataclass(frozen=True)
class HttpGet:
    """
    Passes on any status from 200 to 399.

    Attributes:
        port: a number; a text is a name that no port of the container has.
        host: empty is the container itself.
        path: as written; may hold a query.
        scheme: http or https.
        headers: as written; a name may come twice.
    """

    port: int | str
    host: str = ""
    path: str = ""
    scheme: Scheme = Scheme.HTTP
    headers: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class TcpSocket:
    """Passes once a connection is made; port and host as of HttpGet."""

    port: int | str
    host: str = ""


@dataclasses.dataclass(frozen=True)
class Grpc:
    """
    Passes when grpc.health.v1.Health/Check answers SERVING, without TLS.

    Attributes:
        port: of the container itself.
        service: whose health is asked; empty is the server's.
    """

    port: int
    service: str = ""


@dataclasses.dataclass(frozen=True)
class Exec:
    """
    Passes when a command, run inside of the container, ends with 0.

    `command[0]` is looked up as a container's is; see docs/exec.md.
    """

    command: tuple[str, ...]


Check: TypeAlias = HttpGet | TcpSocket | Grpc | Exec


@dataclasses.dataclass(frozen=True)
class Probe:
    """
    One probe of a container.

    Attributes:
        kind: what it decides.
        check: what is done.
        initial_delay_s: after the start, before the first.
        period_s: from one to the next.
        timeout_s: of one.
        success_threshold: so many in a row make it passing.
        failure_threshold: so many in a row make it failing.
        grace_s: of the stop that a failing one leads to; None: the pod's.
    """

    kind: Kind
    check: Check
    initial_delay_s: float
    period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int
    grace_s: float | None


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """
    Where a check goes.

    Attributes:
        host: an IP or a name; in the request even if a socket leads there.
        port: likewise.
        socket: a unix socket by which it is reached instead, if there is one.
    """

    host: str
    port: int
    socket: Path | None = None


def endpoint(check: HttpGet | TcpSocket | Grpc, own: Callable[[int], Endpoint]) -> Endpoint | None:
    """
    Return where a check goes; None: no port of the container has that name.

    `own` says where a port of the container itself is.
    """
    if isinstance(check.port, str):
        return None
    host = "" if isinstance(check, Grpc) else check.host
    return Endpoint(host, check.port) if host else own(check.port)


@dataclasses.dataclass(frozen=True)
class Passed:
    """It passed; `warning` is what a person should know all the same."""

    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Failed:
    """It failed, and `why`."""

    why: str


@dataclasses.dataclass(frozen=True)
class Unclear:
    """
    It says neither: it is told, and counts for nothing.

    Attributes:
        why: for people.
        state: the kubelet's word for what it would have been.
    """

    why: str
    state: str = "unknown"


Outcome: TypeAlias = Passed | Failed | Unclear


def of(container: manifest.Container) -> tuple[Probe, ...]:
    """
    Read a container's probes, as the API server would default them.

    Raises:
        ValueError: `FIELD: why`.
    """
    found = {
        Kind.STARTUP: container.startup_probe,
        Kind.READINESS: container.readiness_probe,
        Kind.LIVENESS: container.liveness_probe,
    }
    return tuple(
        _probe(kind, check, read, container)
        for kind, read in found.items()
        if read is not None
        and (check := read.http_get or read.tcp_socket or read.grpc or read.exec) is not None
    )


def _probe(
    kind: Kind,
    check: _Read,
    read: manifest.Probe,
    container: manifest.Container,
) -> Probe:
    field = f"{container.name}.{kind.lower()}Probe"
    numbers = (
        read.initial_delay_seconds,
        read.period_seconds or _DEFAULTS.period_seconds,
        read.timeout_seconds or _DEFAULTS.timeout_seconds,
        read.success_threshold or _DEFAULTS.success_threshold,
        read.failure_threshold or _DEFAULTS.failure_threshold,
    )
    grace_s = read.termination_grace_period_seconds
    if min(*numbers, grace_s or 0) < 0:
        raise ValueError(f"{field}: no number in it may be negative")
    made = _check(check, container, field)
    return Probe(kind, made, *numbers, None if grace_s is None else float(grace_s))


def _check(
    read: _Read,
    container: manifest.Container,
    field: str,
) -> Check:
    match read:
        case manifest.HttpGet():
            return http_get(read, container, field)
        case manifest.TcpSocket(port, host):
            return TcpSocket(_port(port, container, field), host)
        case manifest.Grpc(port, service):
            return Grpc(_number(port, field), service or "")
        case manifest.Exec():
            # NB: as ExpandContainerCommandOnlyStatic: what has no value in the
            # manifest itself (valueFrom) is empty, and envFrom is not known.
            return execution(read, field, {each.name: each.value for each in container.env})
        case never:
            assert_never(never)


def execution(read: manifest.Exec, field: str, known: Mapping[str, str] | None = None) -> Exec:
    """
    Read an exec; with `known`, each `$(NAME)` in it is expanded.

    Raises:
        ValueError: `FIELD: why`.
    """
    if not read.command:
        raise ValueError(f"{field}: exec has no command")
    if known is None:
        return Exec(read.command)
    return Exec(tuple(expansion.expand(each, known) for each in read.command))


def http_get(read: manifest.HttpGet, container: manifest.Container, field: str) -> HttpGet:
    """
    Read an httpGet.

    Raises:
        ValueError: `FIELD: why`.
    """
    return HttpGet(
        _port(read.port, container, field),
        read.host,
        read.path,
        Scheme((read.scheme or Scheme.HTTP).lower()),
        tuple((each.name, each.value) for each in read.http_headers),
    )


_DEFAULTS = manifest.Probe()


def _port(wanted: int | str, container: manifest.Container, field: str) -> int | str:
    """Look a name up among the container's ports."""
    named = (each.container_port for each in container.ports if each.name == wanted)
    port = next(named, wanted)
    return _number(port, field) if isinstance(port, int) else port


def _number(port: int, field: str) -> int:
    if port not in _PORTS:
        raise ValueError(f"{field}: {port} is not a port: it has to be from 1 to 65535")
    return port
