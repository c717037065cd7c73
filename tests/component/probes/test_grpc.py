"""
grpc against a real server of gRPC, and against others.

What a status or a broken answer comes to is the kubelet's rule: pkg/probe/grpc
of Kubernetes 1.37 over grpc-go 1.82; the texts are what a kubelet's events say.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from h2 import config, connection, events

from wasm_node.agent.model import probe
from wasm_node.agent.probes.network import NetworkProber

HOST = "127.0.0.1"
LACKING = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
Statuses = health_pb2.HealthCheckResponse
Headers = list[tuple[str, str]]
OK: Headers = [(":status", "200"), ("content-type", "application/grpc")]
SERVING = b"\0\0\0\0\2\x08\1"


async def _check(
    at: probe.Endpoint, service: str = "", *, timeout_s: float = 10.0
) -> probe.Outcome:
    check = probe.Grpc(at.port, service)
    wanted = probe.Probe(probe.Kind.READINESS, check, 0, 10, timeout_s, 1, 3, None)
    return await NetworkProber().probe(wanted, at)


@contextlib.contextmanager
def _server(servicer: Any, *more: str) -> Iterator[probe.Endpoint]:
    with futures.ThreadPoolExecutor(max_workers=2) as threads:
        server = grpc.server(threads)
        if servicer is not None:
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        for each in more:
            server.add_insecure_port(each)
        port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        yield probe.Endpoint(HOST, port)
        server.stop(None).wait()


class _Answering(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpcio has no types
    """Health as a test has it."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    def Check(self, request: Any, context: Any) -> Any:
        """Answer; the name is gRPC's own."""
        return self._answer(context)


@pytest.mark.parametrize(
    ("service", "outcome"),
    [
        ("", probe.Passed()),
        ("shop.v1.Orders", probe.Passed()),
        ("ill", probe.Failed('service unhealthy (responded with "NOT_SERVING")')),
        ("odd", probe.Failed('service unhealthy (responded with "UNKNOWN")')),
        ("x" * 300, probe.Passed()),
    ],
)
async def test_the_health_of_a_service_decides(service: str, outcome: probe.Outcome) -> None:
    """Each service has its own; the empty name is the server's."""
    servicer = health.HealthServicer()
    for each in ("", "shop.v1.Orders", "x" * 300):
        servicer.set(each, Statuses.SERVING)
    servicer.set("ill", Statuses.NOT_SERVING)
    servicer.set("odd", Statuses.UNKNOWN)
    with _server(servicer) as at:
        assert outcome == await _check(at, service)


async def test_a_service_that_nobody_knows_fails() -> None:
    """The server's own code and words are in the failure."""
    with _server(health.HealthServicer()) as at:
        outcome = await _check(at, "nobody")

    said = "error: health rpc probe failed: rpc error: code = NotFound desc = "
    assert probe.Failed(said) == outcome


async def test_the_words_of_the_server_arrive() -> None:
    """Percent signs of the protocol are taken off a message."""
    refusing = _Answering(lambda context: context.abort(grpc.StatusCode.DATA_LOSS, "no: ä\n%"))
    with _server(refusing) as at:
        outcome = await _check(at)

    said = "error: health rpc probe failed: rpc error: code = DataLoss desc = no: ä\n%"
    assert probe.Failed(said) == outcome


async def test_a_server_without_health_is_told_from_an_ill_one() -> None:
    """Who does not know the method is named as such."""
    with _server(None) as at:
        outcome = await _check(at)

    assert probe.Failed(f"{LACKING}: Method not found!") == outcome


async def test_what_the_server_hears_is_a_kubelets_question() -> None:
    """Method, sender and the time it has are those of a kubelet."""
    heard: dict[str, Any] = {}

    def answer(context: Any) -> Any:
        heard.update(context.invocation_metadata())
        heard["left"] = context.time_remaining()
        return Statuses(status=Statuses.SERVING)

    with _server(_Answering(answer)) as at:
        assert probe.Passed() == await _check(at, timeout_s=5.0)

    assert heard["user-agent"] == "kube-probe/1.37"
    assert 0 < heard["left"] <= 5.0


async def test_an_answer_that_does_not_come_is_a_timeout() -> None:
    """Connected and asked, but not answered in time: said as such."""
    over = threading.Event()

    def answer(context: Any) -> Any:
        over.wait(10)
        return Statuses()

    with _server(_Answering(answer)) as at:
        outcome = await _check(at, timeout_s=0.5)
        over.set()

    assert probe.Failed("timeout: health rpc did not complete within 500ms") == outcome


async def test_nobody_there_is_a_timeout() -> None:
    """As grpc-go dials until its time is over, so does this."""
    with socket.socket() as unheard:
        unheard.bind((HOST, 0))
        at = probe.Endpoint(HOST, unheard.getsockname()[1])
        outcome = await _check(at, timeout_s=0.1)

    said = f'timeout: failed to connect service "{HOST}:{at.port}" within 100ms'
    assert probe.Failed(f"{said}: context deadline exceeded") == outcome


async def test_it_is_dialled_again_until_it_is_there(tmp_path: Path) -> None:
    """A server that comes up within the timeout is in time."""
    path = tmp_path / "guest"
    gone = socket.socket(socket.AF_UNIX)
    gone.bind(str(path))  # nobody listens yet
    at = probe.Endpoint("10.0.0.2", 80, path)
    servicer = health.HealthServicer()
    servicer.set("", Statuses.SERVING)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_check(at))
        await asyncio.sleep(0)
        gone.close()
        path.unlink()
        with _server(servicer, f"unix:{path}"):
            outcome = await asked

    assert probe.Passed() == outcome


async def test_a_socket_leads_to_the_very_container(tmp_path: Path) -> None:
    """Of pods that share a port the one that is meant is asked."""
    path = tmp_path / "guest"
    servicer = health.HealthServicer()
    servicer.set("", Statuses.SERVING)
    with _server(servicer, f"unix:{path}"):
        assert probe.Passed() == await _check(probe.Endpoint("10.0.0.2", 80, path))


@contextlib.asynccontextmanager
async def _saying(*answers: bytes) -> AsyncIterator[probe.Endpoint]:
    """Say the same bytes to everybody, whatever they ask."""
    ends: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = asyncio.Event()
        ends.append(over)
        for each in answers:
            writer.write(each)
        with contextlib.suppress(OSError):
            await writer.drain()
            await reader.read()
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield probe.Endpoint(HOST, server.sockets[0].getsockname()[1])
        for each in ends:
            await each.wait()


async def test_a_server_of_http1_is_none() -> None:
    """Who says something else than HTTP/2 has not been connected to."""
    async with _saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as at:
        outcome = await _check(at, timeout_s=0.2)

    assert isinstance(outcome, probe.Failed)
    assert outcome.why.startswith("timeout: failed to connect service")


@contextlib.asynccontextmanager
async def _http2(act: Callable[[connection.H2Connection], None]) -> AsyncIterator[probe.Endpoint]:
    """Serve HTTP/2 by hand: `act` answers stream 1."""
    ends: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = asyncio.Event()
        ends.append(over)
        own = config.H2Configuration(client_side=False, validate_outbound_headers=False)
        http2 = connection.H2Connection(own)
        http2.initiate_connection()
        writer.write(http2.data_to_send())
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                for event in http2.receive_data(data):
                    if isinstance(event, events.StreamEnded):
                        act(http2)
                writer.write(http2.data_to_send())
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield probe.Endpoint(HOST, server.sockets[0].getsockname()[1])
        for each in ends:
            await each.wait()


def _replying(
    headers: Headers, *data: bytes, trailers: Headers | None = None
) -> Callable[[connection.H2Connection], None]:
    def act(http2: connection.H2Connection) -> None:
        http2.send_headers(1, headers, end_stream=not data and trailers is None)
        for each in data:
            http2.send_data(1, each, end_stream=False)
        if trailers is not None:
            http2.send_headers(1, trailers, end_stream=True)
        elif data:
            http2.end_stream(1)

    return act


_DONE: Headers = [("grpc-status", "0")]


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (_replying([(":status", "404")]),
         f"{LACKING}: unexpected HTTP status code received from server: 404 (Not Found); "
         "malformed header: missing HTTP content-type"),
        (_replying([(":status", "200"), ("content-type", "text/html")], b"<html>secret"),
         "error: health rpc probe failed: rpc error: code = Unknown desc = unexpected HTTP status "
         'code received from server: 200 (OK); transport: received unexpected content-type '
         '"text/html"'),
        (_replying([(":status", "503")]), "code = Unavailable desc = unexpected HTTP status"),
        (_replying(OK, trailers=_DONE), "code = Internal desc = cardinality violation: received"),
        (_replying(OK, SERVING * 2, trailers=_DONE),
         "code = Internal desc = cardinality violation: expected <EOF>"),
        (_replying(OK, SERVING[:6], trailers=_DONE), "code = Internal desc = unexpected EOF"),
        (_replying(OK, b"\1" + SERVING[1:], trailers=_DONE), "compressed flag set with identity"),
        (_replying(OK, b"\0\0\0\0\1\x08", trailers=_DONE),
         "Internal desc = grpc: failed to unmarshal the received message: proto: a number has no"),
        (_replying(OK, b"\0\0\0\0\1\x0f", trailers=_DONE),
         "failed to unmarshal the received message: proto: there is no wire type 7"),
        (_replying(OK, b"\0\0\0\0\2\x12\x09", trailers=_DONE), "proto: it is cut short"),
        (_replying(OK, b"\0\0\1\0\0"), "ResourceExhausted desc = grpc: received message larger"),
        (_replying(OK, SERVING), "code = Unknown desc = "),
        (_replying(OK, trailers=[("grpc-status", "ok")]), "transport: malformed grpc-status"),
        (_replying([*OK, ("grpc-status", "99")]), "rpc error: code = Code(99) desc = "),
        (_replying([*OK, ("grpc-status", "4")]), "timeout: health rpc did not complete within 10s"),
        (_replying(OK, b"\0\0\0\0\2\x08\x07", trailers=_DONE), 'responded with "7"'),
        (_replying(OK, b"\0\0\0\0\0", trailers=_DONE), 'responded with "UNKNOWN"'),
        (lambda http2: http2.reset_stream(1, 7), "code = Unavailable desc = stream terminated"),
        (lambda http2: http2.reset_stream(1, 99), "code = Unknown desc = stream terminated"),
        (lambda http2: http2.close_connection(), "code = Unavailable desc = the server is closing"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_fails(
    act: Callable[[connection.H2Connection], None], why: str
) -> None:
    """Whatever comes is an outcome that says what was wrong with it."""
    async with _http2(act) as at:
        outcome = await _check(at)

    assert isinstance(outcome, probe.Failed)
    assert why in outcome.why


async def test_fields_of_a_newer_protocol_are_passed_over() -> None:
    """Of an answer only the status is looked at, wherever it stands."""
    message = b"\x10\x80\x01\x19" + bytes(8) + b"\x22\x02hi\x2d" + bytes(4) + b"\x08\x01"
    act = _replying(OK, bytes([0, 0, 0, 0, len(message)]) + message, trailers=_DONE)
    async with _http2(act) as at:
        assert probe.Passed() == await _check(at)


def test_a_node_without_such_probes_pays_nothing() -> None:
    """HTTP/2 is imported with the first probe that needs it."""
    code = "import sys, wasm_node.agent.probes.network; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"h2", "hpack", "hyperframe", "grpc"} & set(done.stdout.split())
