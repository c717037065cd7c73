"""
Components of WASI 0.3, whose handlers are tasks: they serve as those of 0.2 do.

What happens before a guest is asked (who may connect, what is refused, how a
worker ends) is the same for both, and tested with those of 0.2.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest

from tests.component.http import programs, serving
from tests.component.runtime import running
from wasm_node.protocol import records

Runtime = running.RunningRuntime
MIB = 1 << 20


@contextlib.asynccontextmanager
async def _service(
    runtime: Runtime, **fields: Any
) -> AsyncIterator[tuple[serving.Worker, aiohttp.ClientSession]]:
    async with (
        serving.worker(runtime, program=programs.service(), **fields) as worker,
        aiohttp.ClientSession() as client,
    ):
        yield worker, client


async def _text(client: aiohttp.ClientSession, url: str) -> str:
    async with client.get(url) as got:
        return await got.text()


@pytest.mark.parametrize("http2", [False, True])
async def test_answers(runtime: Runtime, http2: bool) -> None:
    """Status, headers and body are the guest's, by HTTP/1.1 and HTTP/2."""
    async with (
        _service(runtime) as (worker, _),
        httpx.AsyncClient(http1=not http2, http2=http2) as client,
    ):
        for path, status, body in [
            ("/hello", 200, "hello from wasm\n"),
            ("/long", 200, "hello from wasm\n"),
            ("/env", 200, "GREETING=hello\n"),
            ("/host", 200, f"{serving.LOOPBACK}:{worker.port}"),
            ("/teapot", 418, ""),
            ("/nowhere", 404, ""),
        ]:
            got = await client.get(worker.url(path))

            assert (got.status_code, got.text) == (status, body)
        stats = await worker.stats()

    assert (stats["instances"], stats["traps"], stats["requests"]["2xx"]) == (6, 0, 4)


async def test_bodies_and_trailers_stream_both_ways(runtime: Runtime) -> None:
    """What was sent comes back before the rest is sent, trailers last."""
    async with _service(runtime) as (worker, _):
        reader, writer = await asyncio.open_connection(serving.LOOPBACK, worker.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"first\r\n") == b"5\r\nfirst\r\n"
        writer.write(b"6\r\nsecond\r\n")
        assert await reader.readuntil(b"second\r\n") == b"6\r\nsecond\r\n"
        writer.write(b"0\r\nx-sum: 42\r\n\r\n")
        assert (await reader.readuntil(b"0\r\n")).startswith(b"0\r\n")
        writer.close()
        await writer.wait_closed()

    assert b"transfer-encoding: chunked" in head.lower()


async def test_trailers(runtime: Runtime) -> None:
    """A guest's trailers reach a client that takes them."""
    async with _service(runtime) as (worker, _):
        with worker.raw() as client:
            request = serving.get("/trailers", "te: trailers")
            got = await asyncio.to_thread(serving.ask, client, request)

    assert got.endswith(b"7\r\nsummed\n\r\n0\r\nx-sum: 42\r\n\r\n")


async def test_large_bodies(runtime: Runtime) -> None:
    """Every byte comes back, in order, from many clients at a time."""
    sent = [bytes([i]) * 700_000 for i in range(8)]

    async with _service(runtime) as (worker, client), asyncio.TaskGroup() as group:

        async def echo(body: bytes) -> bytes:
            async with client.post(worker.url("/echo"), data=body) as got:
                return await got.read()

        tasks = [group.create_task(echo(body)) for body in sent]

    assert [task.result() for task in tasks] == sent


@pytest.mark.parametrize(("path", "answer"), [("/beside", "soon\n"), ("/nothing", "")])
async def test_it_goes_on_after_its_answer(runtime: Runtime, path: str, answer: str) -> None:
    """Its instance lasts until the task ends, and what it prints is logged."""
    async with _service(runtime) as (worker, client):
        assert await _text(client, worker.url(path)) == answer
        running.until(lambda: worker.log() == ["stdout done"], "it has printed")


async def test_lines_of_guests_do_not_mix(runtime: Runtime) -> None:
    """Two that print parts of lines at a time have a line each in the log."""
    async with _service(runtime) as (worker, client):
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(_text(client, worker.url("/print")))
        running.until(lambda: len(worker.log()) == 4, "all have printed")

        assert worker.log() == ["stdout one line"] * 4


@pytest.mark.parametrize(("reuse", "counts"), [(1, "1111"), (3, "1231")])
async def test_an_instance_serves_so_many(runtime: Runtime, reuse: int, counts: str) -> None:
    """One has a request of its own, or as many in turn as the pod says."""
    async with _service(runtime, reuse=reuse) as (worker, client):
        seen = [await _text(client, worker.url("/count")) for _ in counts]

    assert "".join(seen) == counts


@pytest.mark.parametrize(
    ("path", "traps", "said"),
    [
        ("/trap", 1, "wasm trap: wasm `unreachable` instruction executed"),
        ("/grow", 1, "denied memory"),
        ("/silent", 1, "wasm trap"),
        ("/refuse", 0, "LoopDetected"),
    ],
)
async def test_a_guest_that_fails(runtime: Runtime, path: str, traps: int, said: str) -> None:
    """500 without details; they are in the log; the next request is fine."""
    async with _service(runtime, memory=16 * MIB) as (worker, client):
        async with client.get(worker.url(path)) as got:
            assert (got.status, await got.text()) == (500, "the guest failed; its log says how\n")
        assert await _text(client, worker.url("/hello")) == "hello from wasm\n"
        stats = await worker.stats()

        assert (stats["traps"], stats["requests"]["5xx"]) == (traps, 1)
        assert (stats["live_instances"], stats["in_flight"]) == (0, 0)
        assert said in "\n".join(worker.log())


async def test_a_trap_after_the_answer(runtime: Runtime) -> None:
    """The client has its answer; the trap is counted and logged."""
    async with _service(runtime) as (worker, client):
        assert await _text(client, worker.url("/late")) == "soon\n"
        running.until(lambda: any("unreachable" in line for line in worker.log()), "it is logged")

        assert (await worker.stats())["traps"] == 1


async def test_a_part_is_not_the_whole(runtime: Runtime) -> None:
    """A body that a trap cuts off ends as broken, not as complete."""
    async with _service(runtime) as (worker, client):
        with pytest.raises(aiohttp.ClientPayloadError):
            await _text(client, worker.url("/cut"))

        assert (await worker.stats())["traps"] == 1


async def test_a_loop_costs_its_own_request(runtime: Runtime) -> None:
    """It is 504 after its time; requests beside it are answered in theirs."""
    async with (
        _service(runtime, timeout_s=1.0) as (worker, client),
        asyncio.TaskGroup() as group,
    ):

        async def status(path: str) -> int:
            async with client.get(worker.url(path)) as got:
                return got.status

        loop = group.create_task(status("/loop"))
        waits = group.create_task(status("/sleep"))
        beside = 0
        while not (loop.done() and waits.done()):
            assert await status("/hello") == 200
            beside += 1

        assert (loop.result(), waits.result()) == (504, 504)
        assert beside > 5
        stats = await worker.stats()
        assert (stats["timeouts"], stats["live_instances"]) == (2, 0)


async def test_too_many_at_a_time(runtime: Runtime) -> None:
    """503 with Retry-After; those before it are answered."""
    async with _service(runtime, concurrency=2) as (worker, client):
        async with serving.held(worker, 2) as finish:
            async with client.get(worker.url("/hello")) as got:
                assert (got.status, got.headers["Retry-After"]) == (503, "1")
            answers = await finish()

        assert [each[:13] for each in answers] == [b"HTTP/1.1 200 "] * 2


async def test_a_body_that_is_too_long(runtime: Runtime) -> None:
    """413 where its length is told; else the guest has what is allowed."""
    async with _service(runtime, max_body_bytes=1000) as (worker, client):
        async with client.post(worker.url("/echo"), data=b"x" * 1001) as got:
            assert got.status == 413
        with worker.raw() as raw:
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
            request = head + b"Connection: close\r\n\r\n" + chunk * 3 + b"0\r\n\r\n"
            said = await asyncio.to_thread(serving.ask, raw, request)

    assert said.count(b"x") <= 1000 + len(b"x")
    assert not said.endswith(b"0\r\n\r\n")


async def test_a_client_that_goes_ends_its_guest(runtime: Runtime) -> None:
    """A stream without end ends with its reader."""
    async with _service(runtime) as (worker, _):
        with worker.raw() as client:
            client.sendall(serving.get("/ever"))
            await asyncio.to_thread(client.recv, 100)
            assert (await worker.stats())["live_instances"] == 1
            client.shutdown(socket.SHUT_RDWR)
        async with asyncio.timeout(running.WITHIN_S):
            while (found := await worker.stats())["live_instances"] or found["in_flight"]:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("grants", "asked", "answer"),
    [
        ((), "127.0.0.1:PORT", serving.DENIED),
        (("127.0.0.1:PORT",), "127.0.0.1:PORT", "204"),
        (("localhost:PORT",), "localhost:PORT", serving.PROHIBITED),
        (("localhost:PORT", "127.0.0.0/8:PORT"), "localhost:PORT", "204"),
    ],
)
async def test_who_may_be_asked(
    runtime: Runtime, grants: tuple[str, ...], asked: str, answer: str
) -> None:
    """`wasi:http/client` is held to the same grants; denials are counted."""
    async with serving.neighbour() as port:
        given = records.Grants(tuple(each.replace("PORT", str(port)) for each in grants))
        async with _service(runtime, grants=given) as (worker, client):
            url = worker.url(f"/ask?{asked.replace('PORT', str(port))}")
            assert await _text(client, url) == answer
            denied = (await worker.stats())["denied_outgoing"]

    assert (denied > 0) == (answer != "204")


@pytest.mark.parametrize(("dns", "answer"), [(True, "resolved"), (False, "error 4")])
async def test_names(runtime: Runtime, dns: bool, answer: str) -> None:
    """They are looked up where that is granted; what is denied is told once."""
    denied = "stderr denied looking up localhost: the pod's grants do not allow it"
    async with _service(runtime, grants=records.Grants(dns=dns)) as (worker, client):
        seen = [await _text(client, worker.url("/resolve?localhost")) for _ in range(2)]

        assert seen == [answer] * 2
        assert worker.log() == ([] if dns else [denied])
        assert (await worker.stats())["denied_outgoing"] == (0 if dns else 2)
