"""Ports that attempts of one owner share, and that outlive the supervisor."""

import contextlib
import dataclasses
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.component.http.serving import free_port
from wasm_node.protocol import layout, records, settings
from wasm_node.runtime import listeners

_LOOPBACK = "127.0.0.1"


@dataclasses.dataclass
class Bed:
    """What init keeps for its supervisors, of which each is a `next`."""

    settings: settings.RuntimeSettings
    kept: tuple[socket.socket, socket.socket]
    made: list[listeners.Listeners] = dataclasses.field(default_factory=list)

    def next(self) -> listeners.Listeners:
        """Return the listeners of a supervisor that has just started."""
        self.made.append(listeners.Listeners(self.settings, self.kept))
        return self.made[-1]

    def killed(self, used: Mapping[records.AttemptId, records.Http]) -> None:
        """Have a supervisor open these, and die without a word."""
        pid = os.fork()
        if pid == 0:
            heir = listeners.Listeners(self.settings, self.kept)
            heir.adopt({})
            for each, http in used.items():
                heir.open(each, http)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Give one over directories of its own."""
    made = settings.RuntimeSettings(tmp_path, tmp_path, tmp_path, address=_LOOPBACK)
    into, out = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with into, out:
        bed = Bed(made, (into, out))
        yield bed
        for each in bed.made:
            each.adopt({})


def _attempt(pod: str) -> records.AttemptId:
    return records.AttemptId(pod, "main", 0)


def _http(owner: str, *ports: int) -> records.Http:
    return records.Http("proxy", owner, ports, 1, 1, 1.0, 1, 1, 1.0, 1.0)


def _beside(http: records.Http, *more: tuple[str, int]) -> records.Http:
    made = tuple(records.HostPort(address, port) for address, port in more)
    return dataclasses.replace(http, host_ports=made)


@contextlib.contextmanager
def _worker(
    here: listeners.Listeners, each: records.AttemptId, http: records.Http
) -> Iterator[list[socket.socket]]:
    """Give the ports of a worker's descriptors; all are closed with it."""
    made = [socket.socket(fileno=fd) for fd in here.open(each, http)]
    try:
        yield made[2:]
    finally:
        for one in made:
            one.close()


def _answers(port: int, address: str = _LOOPBACK) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


def test_attempts_of_one_owner_share_a_queue(bed: Bed) -> None:
    """A connection that nobody has accepted yet is anybody's of the owner."""
    port, here = free_port(), bed.next()
    http = _http("ns/Deployment/web", port)
    with _worker(here, _attempt("b"), http) as (stays,):
        with _worker(here, _attempt("a"), http):
            client = socket.create_connection((_LOOPBACK, port))
        here.close(_attempt("a"))
        connection, address = stays.accept()
        with client, connection:
            assert address == client.getsockname()


def test_a_port_has_one_owner(bed: Bed) -> None:
    """Another's is refused, with both names and what to do; then it is free."""
    port, here = free_port(), bed.next()
    with (
        _worker(here, _attempt("a"), _http("ns/Deployment/web", port)),
        pytest.raises(listeners.PortTaken) as caught,
    ):
        here.open(_attempt("b"), _http("other/Job/api", port))
    for word in (str(port), "other/Job/api", "ns/Deployment/web", "containerPort"):
        assert word in str(caught.value)
    here.close(_attempt("a"))

    assert not _answers(port)
    with _worker(here, _attempt("b"), _http("other/Job/api", port)):
        assert _answers(port)


def test_a_port_of_somebody_else_on_the_host(bed: Bed) -> None:
    """It is refused with address and port, and what to do."""
    with socket.create_server((_LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            listeners.PortTaken,
            match=rf"cannot listen on {_LOOPBACK}, port {port}: .*containerPort",
        ):
            bed.next().open(_attempt("a"), _http("ns/Deployment/web", port))


def test_listeners_outlive_a_supervisor(bed: Bed) -> None:
    """The next one has the same queues, and knows whose they are."""
    port = free_port()
    http = _http("ns/Deployment/web", port)
    bed.killed({_attempt("a"): http})
    with socket.create_connection((_LOOPBACK, port)) as client:
        heir = bed.next()
        heir.adopt({_attempt("a"): http})
        with pytest.raises(listeners.PortTaken):
            heir.open(_attempt("c"), _http("other/Job/api", port))
        with _worker(heir, _attempt("b"), http) as (listener,):
            connection, address = listener.accept()
            connection.close()

        assert address == client.getsockname()


def test_listeners_outlive_many_supervisors(bed: Bed) -> None:
    """However often one takes over and dies, one message is left."""
    port = free_port()
    http = _http("ns/Deployment/web", port)
    bed.killed({_attempt("a"): http})
    for _ in range(3):
        heir = bed.next()
        heir.adopt({_attempt("a"): http})

    assert _answers(port)
    bed.kept[1].recv(1)
    with pytest.raises(BlockingIOError):
        bed.kept[1].recv(1)


def test_what_nobody_uses_any_more_is_closed(bed: Bed) -> None:
    """Ports and doors of attempts that ended unseen are gone after adoption."""
    ports = [free_port(), free_port()]
    used = {_attempt(f"{port}"): _http(f"ns/Pod/{port}", port) for port in ports}
    bed.killed(used)
    kept = _attempt(f"{ports[0]}")
    bed.next().adopt({kept: used[kept]})

    assert [_answers(port) for port in ports] == [True, False]
    run = bed.settings.run
    doors = {layout.guest_socket(run, kept), layout.admin_socket(run, kept)}
    assert set((run / layout.WORKERS).iterdir()) == doors


def test_ports_of_the_host_are_opened_beside(bed: Bed) -> None:
    """On the address that is wanted, or on ours; all are closed together."""
    own, other, third, here = free_port(), free_port(), free_port(), bed.next()
    http = _beside(_http("ns/Pod/a", own), ("", own), ("", other), ("127.0.0.2", third))
    with _worker(here, _attempt("a"), http) as made:
        where = [each.getsockname() for each in made]
    here.close(_attempt("a"))

    assert [(_LOOPBACK, own), (_LOOPBACK, other), ("127.0.0.2", third)] == where
    assert not _answers(other)
    assert not _answers(third, "127.0.0.2")


def test_an_address_may_be_anothers(bed: Bed) -> None:
    """One port, two addresses, two owners; and one that has it of both."""
    port, here = free_port(), bed.next()
    second = _beside(_http("ns/Pod/b", free_port()), ("127.0.0.2", port))
    with (
        _worker(here, _attempt("a"), _http("ns/Pod/a", port)),
        _worker(here, _attempt("b"), second),
    ):
        assert _answers(port)
        assert _answers(port, "127.0.0.2")
        with pytest.raises(listeners.PortTaken, match=r"ns/Pod/c: .* it is ns/Pod/b's"):
            here.open(_attempt("c"), _beside(_http("ns/Pod/c"), ("127.0.0.2", port)))


def test_every_address_has_one_of_them_within(bed: Bed) -> None:
    """A runtime on all addresses has a port on each; another never does."""
    every = Bed(dataclasses.replace(bed.settings, address=""), bed.kept, bed.made)
    port, here = free_port(), every.next()
    http = _beside(_http("ns/Pod/a", port), ("127.0.0.2", port))
    with _worker(here, _attempt("a"), http) as made:
        assert 1 == len(made)
        assert _answers(port, "127.0.0.2")
        with pytest.raises(listeners.PortTaken, match=r"ns/Pod/b: .* it is ns/Pod/a's"):
            here.open(_attempt("b"), _beside(_http("ns/Pod/b"), ("127.0.0.2", port)))


def test_ports_of_the_host_outlive_a_supervisor(bed: Bed) -> None:
    """The next one knows them by their addresses."""
    port = free_port()
    http = _beside(_http("ns/Pod/a", free_port()), ("127.0.0.2", port))
    bed.killed({_attempt("a"): http})
    heir = bed.next()
    heir.adopt({_attempt("a"): http})

    assert _answers(port, "127.0.0.2")
    with pytest.raises(listeners.PortTaken):
        heir.open(_attempt("b"), _beside(_http("ns/Pod/b"), ("127.0.0.2", port)))


def test_doors_are_private(bed: Bed) -> None:
    """Guest and admin sockets are one user's, and answer at their paths."""
    here, run = bed.next(), bed.settings.run
    with _worker(here, _attempt("a"), _http("ns/Pod/a")):
        for path in (
            layout.guest_socket(run, _attempt("a")),
            layout.admin_socket(run, _attempt("a")),
        ):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
