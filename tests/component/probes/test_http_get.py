"""
httpGet against real servers, good and bad.

What a status, a redirect or a broken answer comes to is the kubelet's rule:
pkg/probe/http (http.go, request.go and their tests) of Kubernetes 1.37, over
Go's net/http; the texts are what a kubelet's events say.
"""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from wasm_node.agent.model import probe
from wasm_node.agent.probes.network import NetworkProber

HOST = "127.0.0.1"
TLS = b"\x16"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclasses.dataclass
class Server:
    """
    Says the same to everybody, in the pieces given.

    Attributes:
        answers: one after another; the last one for all that come after.
        stays: it does not hang up after its answer.
        asked: what it was asked, as it came.
        at: where it listens.
        open: connections that are served now.
    """

    answers: list[list[bytes]]
    stays: bool = False
    asked: list[str] = dataclasses.field(default_factory=list)
    at: probe.Endpoint = dataclasses.field(default_factory=lambda: probe.Endpoint(HOST, 0))
    open: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.open += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(1)
            if first == TLS:  # it was not asked for: what Go's servers do
                writer.write(_answer(400))
            else:
                self.asked.append((first + await reader.readuntil(b"\r\n\r\n")).decode())
                for piece in self.answers[min(len(self.asked), len(self.answers)) - 1]:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            if self.stays:
                await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.open -= 1

    async def over(self) -> None:
        """Return once nobody is served any more."""
        while self.open:
            await asyncio.sleep(0.001)

    def headers(self) -> list[str]:
        """Return the lines of the newest request, the first of them apart."""
        return self.asked[-1].split("\r\n")[1:-2]


@contextlib.asynccontextmanager
async def _serving(
    *answers: bytes | Iterable[bytes], stays: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    pieces = [[each] if isinstance(each, bytes) else list(each) for each in answers]
    made = Server(pieces, stays)
    server = await asyncio.start_server(made.serve, HOST, 0, ssl=tls)
    async with server:
        made.at = probe.Endpoint(HOST, server.sockets[0].getsockname()[1])
        yield made
        await made.over()


async def _get(
    server: Server, *, timeout_s: float = 10.0, path: str = "/", **fields: object
) -> probe.Outcome:
    check = dataclasses.replace(probe.HttpGet(server.at.port, path=path), **fields)  # type: ignore[arg-type]  # a test's own words
    wanted = probe.Probe(probe.Kind.READINESS, check, 0, 10, timeout_s, 1, 3, None)
    return await NetworkProber().probe(wanted, server.at)


def _answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_two_hundreds_pass(status: int) -> None:
    """Any status of success is one."""
    async with _serving(_answer(status)) as server:
        assert probe.Passed() == await _get(server)


@pytest.mark.parametrize("status", [400, 404, 500, 503, 999])
async def test_others_fail_by_their_status(status: int) -> None:
    """The failure says the status, and nothing of the body."""
    async with _serving(_answer(status, b"secret")) as server:
        assert probe.Failed(f"HTTP probe failed with statuscode: {status}") == await _get(server)


@pytest.mark.parametrize("status", [300, 304, 399])
async def test_three_hundreds_pass_with_a_warning(status: int) -> None:
    """What is no redirect that could be followed passes all the same."""
    async with _serving(_answer(status)) as server:
        outcome = await _get(server)

    assert probe.Passed("Probe terminated redirects, Response body: ") == outcome


async def test_what_is_sent() -> None:
    """The request is the kubelet's: these headers, no other, in HTTP/1.1."""
    async with _serving(OK) as server:
        await _get(server, path="/healthz?full=1&x=%20#part")

    assert server.asked[0].startswith("GET /healthz?full=1&x=%20 HTTP/1.1\r\n")
    assert [
        "Accept: */*",
        "Connection: close",
        f"Host: {HOST}:{server.at.port}",
        "User-Agent: kube-probe/1.37",
    ] == sorted(server.headers())


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("path", "/path"),
        ("?foo", "/?foo"),
        ("/path?bar", "/path?bar"),
        ("/a b", "/a%20b"),
        ("/ü", "/%C3%BC"),
        ("/a%2Fb", "/a%2Fb"),
        ("/100%", "/100%25"),
        ("//[", "//["),
        ("/a\r\nHost: x", "/aHost:%20x"),
    ],
)
async def test_paths_as_written(path: str, target: str) -> None:
    """A path may lack its slash or hold a query; it never leaves its line."""
    async with _serving(OK) as server:
        await _get(server, path=path)

    assert f"GET {target} HTTP/1.1" == server.asked[0].split("\r\n")[0]


_ACCEPT, _AGENT, _HOST = "Accept: */*", "User-Agent: kube-probe/1.37", "Host: HERE"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([("host", "example.com")], [_ACCEPT, "Host: example.com", _AGENT]),
        ([("user-agent", "foo/1.0")], [_ACCEPT, _HOST, "User-Agent: foo/1.0"]),
        ([("User-Agent", "")], [_ACCEPT, _HOST]),
        ([("Accept", "a/*"), ("accept", "b/*")], ["Accept: a/*", "Accept: b/*", _HOST, _AGENT]),
        ([("Accept", "")], [_HOST, _AGENT]),
        ([("X-A", "1"), ("X-A", "2")], [_ACCEPT, _HOST, _AGENT, "X-A: 1", "X-A: 2"]),
        ([("X-Empty", "")], [_ACCEPT, _HOST, _AGENT, "X-Empty: "]),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], [_ACCEPT, _HOST, _AGENT]),
    ],
)
async def test_headers_of_the_probe(given: list[tuple[str, str]], sent: list[str]) -> None:
    """Its own come before ours; empty ones unset; none describes a body."""
    async with _serving(OK) as server:
        await _get(server, headers=tuple(given))

    here = f"{HOST}:{server.at.port}"
    found = [each.replace(here, "HERE") for each in server.headers()]
    assert sorted([*sent, "Connection: close"]) == sorted(found)


@pytest.mark.parametrize("header", [("X-A", "1\r\nX-B: 2"), ("X A", "1"), ("", "1")])
async def test_a_header_that_is_none_is_not_sent(header: tuple[str, str]) -> None:
    """Nothing can be smuggled into the request: the probe fails instead."""
    async with _serving(OK) as server:
        outcome = await _get(server, headers=(header,))

    assert isinstance(outcome, probe.Failed)
    assert "invalid header field" in outcome.why
    assert server.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_of_the_same_host_are_followed(status: int) -> None:
    """What counts is the answer that they lead to."""
    async with _serving(_answer(status, b"", "Location: /new?x"), _answer(500)) as server:
        outcome = await _get(server, headers=(("Host", "example.com"),))

    assert probe.Failed("HTTP probe failed with statuscode: 500") == outcome
    assert server.asked[1].startswith("GET /new?x HTTP/1.1")
    assert "Host: example.com" in server.headers()


async def test_a_redirect_may_change_the_port() -> None:
    """The host name alone decides if it is followed."""
    async with _serving(OK) as other, _serving(OK) as server:
        server.answers = [[_answer(302, b"", f"Location: http://{HOST}:{other.at.port}/there")]]
        outcome = await _get(server, headers=(("Host", "example.com"),))

    assert probe.Passed() == outcome
    assert f"Host: {HOST}:{other.at.port}" in other.headers()


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/",
        "ftp://127.0.0.1/",
        "ftp://127.0.0.1:21/",
        "http://[",
        "mailto:x@y",
        "//other/x",
    ],
)
async def test_a_redirect_to_elsewhere_ends_there(location: str) -> None:
    """It is not followed, passes, and a person is told."""
    async with _serving(_answer(302, b"gone", f"Location: {location}")) as server:
        outcome = await _get(server)

    assert probe.Passed("Probe terminated redirects, Response body: gone") == outcome
    assert 1 == len(server.asked)


async def test_a_redirect_without_a_place_ends_there() -> None:
    """Without a Location there is nothing to follow."""
    async with _serving(_answer(302, b"where")) as server:
        assert isinstance(await _get(server), probe.Passed)


async def test_a_redirect_to_an_odd_path_is_followed() -> None:
    """What no parser likes is asked for all the same, at the same host."""
    async with _serving(OK) as server:
        odd = f"Location: http://{HOST}:{server.at.port}//["
        server.answers = [[_answer(302, b"", odd)], [OK]]

        assert probe.Passed() == await _get(server)


async def test_redirects_end() -> None:
    """Ten times, then it has failed."""
    async with _serving(_answer(302, b"", "Location: /again")) as server:
        outcome = await _get(server)

    assert (10, True) == (len(server.asked), isinstance(outcome, probe.Failed))
    assert "stopped after 10 redirects" in str(outcome)


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.0 200 OK\r\n\r\nbody until the end",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: y\n\nbody",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n",
    ],
)
async def test_every_form_of_an_answer_is_read(answer: bytes) -> None:
    """However it is written and however it is cut into pieces."""
    for pieces in ([answer], [bytes([each]) for each in answer]):
        async with _serving(pieces) as server:
            assert probe.Passed() == await _get(server)


async def test_a_long_body_is_left_unread() -> None:
    """Ten KiB are enough; the status has been good."""
    for head in ("Content-Length: 9999999", "Transfer-Encoding: chunked\r\n\r\n98967f", "X: y"):
        long = f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + b"x" * 100_000
        async with _serving(long, stays=True) as server:
            assert probe.Passed() == await _get(server)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "EOF"),
        (b"HTTP/1.1 200 OK\r\nX: y", "EOF"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed HTTP response"),
        (b"\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/2 200 OK\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed MIME header"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "too long"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "exceeded"),
    ],
)
async def test_what_is_no_answer_fails(answer: bytes, why: str) -> None:
    """Without a whole head there is no status to pass by."""
    async with _serving(answer) as server:
        outcome = await _get(server)

    assert isinstance(outcome, probe.Failed)
    assert outcome.why.startswith(f'Get "http://{HOST}:{server.at.port}/": ')
    assert why in outcome.why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nab", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "Content-Length"),
    ],
)
async def test_a_broken_body_counts_for_nothing(answer: bytes, why: str) -> None:
    """It is tried three times, told, and neither passes nor fails."""
    async with _serving(answer) as server:
        outcome = await _get(server)

    assert isinstance(outcome, probe.Unclear)
    assert ("failure", 3) == (outcome.state, len(server.asked))
    assert why in outcome.why


async def test_a_silent_server_fails_by_the_timeout() -> None:
    """No answer in time is a failure, in Go's words."""
    async with _serving([], stays=True) as server:
        outcome = await _get(server, timeout_s=0.05)

    assert isinstance(outcome, probe.Failed)
    said = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert outcome.why.endswith(said)


async def test_a_slow_body_counts_for_nothing() -> None:
    """The timeout is of the whole, but the status has been there."""
    async with _serving(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", stays=True) as server:
        outcome = await _get(server, timeout_s=0.05)

    assert isinstance(outcome, probe.Unclear)
    assert "while reading body" in outcome.why


async def test_certificates_are_not_checked() -> None:
    """HTTPS is spoken with whoever is there."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("wrong.example").configure_cert(context)
    async with _serving(OK, tls=context) as server:
        assert probe.Passed() == await _get(server, scheme=probe.Scheme.HTTPS)


async def test_https_to_a_plain_server_fails() -> None:
    """Without TLS on the other side it fails, and says so."""
    async with _serving(OK) as server:
        outcome = await _get(server, scheme=probe.Scheme.HTTPS)

    assert isinstance(outcome, probe.Failed)
    assert "tls: " in outcome.why


@pytest.mark.parametrize("host", ["nosuch.invalid", "a..b", ".x", "x" * 80])
@pytest.mark.parametrize("scheme", probe.Scheme)
async def test_a_name_that_nobody_has_fails(host: str, scheme: probe.Scheme) -> None:
    """A host is looked up; without an address it has failed."""
    check = probe.HttpGet(80, host=host, scheme=scheme)
    wanted = probe.Probe(probe.Kind.LIVENESS, check, 0, 10, 10, 1, 3, None)
    outcome = await NetworkProber().probe(wanted, probe.Endpoint(host, 80))

    assert isinstance(outcome, probe.Failed)
    assert f"dial tcp: lookup {host}: no such host" in outcome.why


async def test_a_socket_leads_to_the_same_host(tmp_path: Path) -> None:
    """By a unix socket the guest sees the pod's own address as Host."""
    seen: list[str] = []

    async def healthz(request: web.Request) -> web.Response:
        seen.append(request.headers["Host"])
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "guest")).start()
    try:
        server = Server([], at=probe.Endpoint("10.0.0.2", 8080, tmp_path / "guest"))
        outcomes = [await _get(server, path=path) for path in ("/healthz", "/nosuch")]
    finally:
        await runner.cleanup()

    assert [probe.Passed(), probe.Failed("HTTP probe failed with statuscode: 404")] == outcomes
    assert ["10.0.0.2:8080"] == seen


async def test_a_socket_that_nobody_hears_fails(tmp_path: Path) -> None:
    """A worker that has ended is told as one that does not listen."""
    path = tmp_path / "guest"
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))
    outcome = await _get(Server([], at=probe.Endpoint("10.0.0.2", 8080, path)))

    why = 'Get "http://10.0.0.2:8080/": dial tcp 10.0.0.2:8080: connect: connection refused'
    assert probe.Failed(why) == outcome


async def test_without_a_socket_the_address_is_asked(tmp_path: Path) -> None:
    """A container that we do not serve HTTP for is reached as any other."""
    async with _serving(OK) as server:
        server.at = dataclasses.replace(server.at, socket=tmp_path / "none")
        assert probe.Passed() == await _get(server)
