"""A module that answers by CGI, one process for each request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.component.http import programs, serving
from tests.component.runtime import running

Runtime = running.RunningRuntime


@contextlib.asynccontextmanager
async def _asked(
    runtime: Runtime, **fields: Any
) -> AsyncIterator[tuple[serving.Worker, aiohttp.ClientSession]]:
    async with (
        serving.worker(runtime, program=programs.module(), mode="wagi", **fields) as worker,
        aiohttp.ClientSession() as client,
    ):
        yield worker, client


async def test_a_module_answers(runtime: Runtime) -> None:
    """What it writes behind its head is the body."""
    async with _asked(runtime) as (worker, client):
        for _ in range(3):
            async with client.get(worker.url("/hello")) as got:
                assert (got.status, await got.text()) == (200, "hello from cgi\n")
                assert got.content_type == "text/plain"
        stats = await worker.stats()

    assert (stats["instances"], stats["live_instances"], stats["requests"]["2xx"]) == (3, 0, 3)


async def test_a_request_is_its_environment(runtime: Runtime) -> None:
    """RFC 3875, 4.1, beside the pod's own; nothing passes for a proxy."""
    headers = {"X-Some-Thing": "1", "Proxy": "http://evil"}
    async with (
        _asked(runtime) as (worker, client),
        client.get(worker.url("/env?a=b%20c"), headers=headers) as got,
    ):
        told = dict(line.split("=", 1) for line in (await got.text()).splitlines())

    for name, value in {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/env",
        "QUERY_STRING": "a=b%20c",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PORT": str(worker.port),
        "HTTP_X_SOME_THING": "1",
        "GREETING": "hello",
    }.items():
        assert told[name] == value
    assert "HTTP_PROXY" not in told


async def test_bodies_stream_both_ways(runtime: Runtime) -> None:
    """What was sent comes back before the rest is sent."""
    async with _asked(runtime) as (worker, _):
        reader, writer = await asyncio.open_connection(serving.LOOPBACK, worker.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"5\r\nfirst\r\n")
        await reader.readuntil(b"first\r\n")
        writer.write(b"6\r\nsecond\r\n")
        await reader.readuntil(b"second\r\n")
        writer.write(b"0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("path", "status", "header"),
    [("/status", 404, ("X-Why", "because")), ("/go", 302, ("Location", "/there"))],
)
async def test_a_head_says_what_it_is(
    runtime: Runtime, path: str, status: int, header: tuple[str, str]
) -> None:
    """Status and Location are CGI's; other headers go out as they are."""
    async with (
        _asked(runtime) as (worker, client),
        client.get(worker.url(path), allow_redirects=False) as got,
    ):
        assert (got.status, got.headers[header[0]]) == (status, header[1])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/none", 500, "it ended before its head did"),
        ("/trap", 500, "wasm trap"),
        ("/loop", 504, ""),
    ],
)
async def test_a_run_that_fails(runtime: Runtime, path: str, status: int, said: str) -> None:
    """It costs its own request; nothing of it is left."""
    async with _asked(runtime, timeout_s=1.0) as (worker, client):
        async with client.get(worker.url(path)) as got:
            assert got.status == status
        async with client.get(worker.url("/hello")) as got:
            assert got.status == 200
        running.until(lambda: not running.children(worker.pid), "no process is left")

        assert said in "\n".join(worker.log())


async def test_neighbours_of_a_loop(runtime: Runtime) -> None:
    """They are answered while it runs."""
    async with (
        _asked(runtime, timeout_s=2.0) as (worker, client),
        asyncio.TaskGroup() as group,
    ):

        async def loop() -> int:
            async with client.get(worker.url("/loop")) as got:
                return got.status

        looping = group.create_task(loop())
        beside = 0
        while not looping.done():
            async with client.get(worker.url("/hello")) as got:
                assert got.status == 200
            beside += 1

        assert looping.result() == 504
        assert beside > 5


async def test_a_body_that_is_cut_short(runtime: Runtime) -> None:
    """A run that fails after its head does not pass for one that ended."""
    async with _asked(runtime) as (worker, client), client.get(worker.url("/fail")) as got:
        with pytest.raises(aiohttp.ClientPayloadError):
            await got.read()
        running.until(lambda: bool(worker.log()), "it is logged")

        assert worker.log() == ["stderr the guest ended with code 3"]


async def test_standard_error_is_the_log(runtime: Runtime) -> None:
    """Whatever a run prints there, from its own process."""
    async with _asked(runtime) as (worker, client), client.get(worker.url("/print")) as got:
        assert got.status == 204
        assert worker.log() == ["stderr one line"]
