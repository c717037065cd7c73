"""A bad guest or a bad client costs one request, and others none."""

import asyncio
import itertools

import aiohttp
import httpx
import pytest

from tests.component.http import serving
from tests.component.runtime import running

Runtime = running.RunningRuntime
MIB = 1 << 20


async def _status(client: aiohttp.ClientSession, url: str) -> int:
    async with client.get(url) as got:
        await got.read()
        return got.status


@pytest.mark.parametrize(
    ("path", "traps", "said"),
    [
        ("/trap", 1, "wasm trap: wasm `unreachable` instruction executed"),
        ("/grow", 1, "denied memory"),
        ("/silent", 0, ""),
    ],
)
async def test_a_guest_that_fails(runtime: Runtime, path: str, traps: int, said: str) -> None:
    """500 without details; they are in the log; the next request is fine."""
    async with (
        serving.worker(runtime, memory=16 * MIB) as worker,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(worker.url(path)) as got:
            assert (got.status, await got.text()) == (500, "the guest failed; its log says how\n")
        assert await _status(client, worker.url("/hello")) == 200
        stats = await worker.stats()

        assert (stats["traps"], stats["requests"]["5xx"]) == (traps, 1)
        assert said in "\n".join(worker.log())


async def test_a_trap_after_the_answer(runtime: Runtime) -> None:
    """The client has its answer; the trap is counted and logged."""
    async with serving.worker(runtime) as worker, aiohttp.ClientSession() as client:
        assert await _status(client, worker.url("/late")) == 200
        running.until(lambda: any("unreachable" in line for line in worker.log()), "it is logged")

        assert (await worker.stats())["traps"] == 1


async def test_a_loop_costs_its_own_request(runtime: Runtime) -> None:
    """It is 504 after its time; requests beside it are answered in theirs."""
    async with (
        serving.worker(runtime, timeout_s=1.0) as worker,
        aiohttp.ClientSession() as client,
        asyncio.TaskGroup() as group,
    ):
        loop = group.create_task(_status(client, worker.url("/loop")))
        beside = 0
        while not loop.done():
            assert await _status(client, worker.url("/hello")) == 200
            beside += 1

        assert loop.result() == 504
        assert beside > 5
        stats = await worker.stats()
        assert (stats["timeouts"], stats["live_instances"]) == (1, 0)


async def test_a_request_that_takes_too_long(runtime: Runtime) -> None:
    """A guest that waits is 504, too."""
    async with (
        serving.worker(runtime, timeout_s=0.3) as worker,
        aiohttp.ClientSession() as client,
    ):
        assert await _status(client, worker.url("/sleep")) == 504


async def test_a_body_that_is_too_long(runtime: Runtime) -> None:
    """413 where its length is told; the limit itself is fine."""
    async with (
        serving.worker(runtime, max_body_bytes=1000) as worker,
        aiohttp.ClientSession() as client,
    ):
        seen = []
        for size in (1000, 1001):
            async with client.post(worker.url("/echo"), data=b"x" * size) as got:
                seen.append((got.status, len(await got.read())))

        assert [status for status, _ in seen] == [200, 413]
        assert seen[0][1] == 1000
        assert (await worker.stats())["instances"] == 1


async def test_a_body_that_becomes_too_long(runtime: Runtime) -> None:
    """The guest has what is allowed of it, and then an error."""
    async with serving.worker(runtime, max_body_bytes=1000) as worker:
        with worker.raw() as raw:
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
            request = head + b"Connection: close\r\n\r\n" + chunk * 3 + b"0\r\n\r\n"
            got = await asyncio.to_thread(serving.ask, raw, request)

    assert got.count(b"x") <= 1000 + len(b"x")


@pytest.mark.parametrize("lines", [["x: " + "y" * 20000], [f"x{i}: y" for i in range(200)]])
async def test_headers_that_are_too_long(runtime: Runtime, lines: list[str]) -> None:
    """431, be it one header or many; the worker reads no more of it."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            got = await asyncio.to_thread(serving.ask, client, serving.get("/hello", *lines))

    assert got.startswith(b"HTTP/1.1 431 ")


async def test_too_many_at_a_time(runtime: Runtime) -> None:
    """503 with Retry-After, except for the agent's own."""
    async with serving.worker(runtime, concurrency=2) as worker:
        async with serving.held(worker, 2) as finish, aiohttp.ClientSession() as client:
            async with client.get(worker.url("/hello")) as got:
                assert (got.status, got.headers["Retry-After"]) == (503, "1")
            async with aiohttp.ClientSession(connector=worker.door()) as probe:
                assert await _status(probe, "http://guest/hello") == 200
            assert (await worker.stats())["denied"] == 1
            answers = await finish()

        assert [each[:13] for each in answers] == [b"HTTP/1.1 200 "] * 2


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (serving.get("/hello", "Upgrade: websocket", "Connection: Upgrade"), 501),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (serving.get("/hello", "Host: there"), 400),
        (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (serving.get("/hello", "Content-Length: 1", "Content-Length: 2"), 400),
        (serving.get("/hello", "Content-Length: +1"), 400),
        (serving.get("/hello", "Transfer-Encoding: gzip"), 400),
        (serving.get("/hello", "x : y"), 400),
        (serving.get("/hello", "x: a\rb"), 400),
        (serving.get("/hello", "Content-Length: 0x1"), 400),
        (serving.get("/hello", "Content-Length: 1, 2"), 400),
        (serving.get("/hello", "Transfer-Encoding: chunked, identity"), 400),
        (serving.get("/hello", "Transfer-Encoding : chunked"), 400),
        (serving.get("/hello", "X: 1", " folded: 2"), 400),
        (serving.get("/hello", "Host: there", "Host: here"), 400),
        (b"GET /hello HTTP/1.1\nHost: x\n\tContent-Length: 5\n\n", 400),
        (b"GET /hello HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"G\xc3\x84T /hello HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
async def test_what_is_refused(runtime: Runtime, request_: bytes, status: int) -> None:
    """Ways to smuggle requests, and what is not served, reach no guest."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            got = await asyncio.to_thread(serving.ask, client, request_)
        stats = await worker.stats()

    assert got.startswith(f"HTTP/1.1 {status} ".encode())
    assert stats["instances"] == 0


async def test_chunked_and_a_length(runtime: Runtime) -> None:
    """Of both, chunked counts (RFC 9112, 6.3), and no request comes of it."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            smuggled = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /teapot HTTP/1.1\r\n"
            rest = b"Host: x\r\nConnection: close\r\n\r\n"
            got = await asyncio.to_thread(serving.ask, client, head + smuggled + rest)

    assert got.count(b"HTTP/1.1 ") <= 2
    assert b"GET /teapot" not in got


async def test_a_thousand_connections(runtime: Runtime) -> None:
    """They cost next to nothing, and others are answered beside them."""
    async with serving.worker(runtime) as worker:
        clients = [worker.raw() for _ in range(1000)]
        try:
            async with asyncio.timeout(running.WITHIN_S):
                while (await worker.stats())["connections"] < 1000:
                    await asyncio.sleep(0.01)
            async with aiohttp.ClientSession() as client:
                assert await _status(client, worker.url("/hello")) == 200
            assert serving.private_kib(worker.pid) < 64 * 1024
        finally:
            for each in clients:
                each.close()


async def test_a_slow_client(runtime: Runtime) -> None:
    """One that never ends its first head is hung up on; others do not wait."""
    async with serving.worker(runtime) as worker, aiohttp.ClientSession() as client:
        with worker.raw() as slow:
            slow.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n")
            assert await _status(client, worker.url("/hello")) == 200
            assert await asyncio.to_thread(slow.recv, 100) == b""


async def test_limits_hold_for_http2(runtime: Runtime) -> None:
    """A hundred streams of one connection are bounded as others are."""
    async with (
        serving.worker(runtime, concurrency=4) as worker,
        httpx.AsyncClient(http1=False, http2=True, timeout=running.WITHIN_S) as client,
        asyncio.TaskGroup() as group,
    ):
        asks = [group.create_task(client.get(worker.url("/sleep"))) for _ in range(20)]
        seen = sorted([(await task).status_code for task in asks])

    assert seen == [*itertools.repeat(200, 4), *itertools.repeat(503, 16)]
