"""What a client and a component can say to each other."""

import asyncio
import socket
from typing import Any

import aiohttp
import httpx
import pytest

from tests.component.http import serving
from tests.component.runtime import running
from wasm_node.agent.model import probe
from wasm_node.agent.probes import network
from wasm_node.protocol import layout, records

Runtime = running.RunningRuntime


@pytest.mark.parametrize("http2", [False, True])
async def test_a_component_answers(runtime: Runtime, http2: bool) -> None:
    """HTTP/1.1 and HTTP/2 without TLS are told apart by what comes first."""
    async with (
        serving.worker(runtime) as worker,
        httpx.AsyncClient(http1=not http2, http2=http2) as client,
    ):
        for _ in range(3):
            got = await client.get(worker.url("/hello"))

            assert (got.status_code, got.text) == (200, "hello from wasm\n")
            assert got.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        stats = await worker.stats()

    assert stats["connections_made"] >= 1
    assert (stats["requests"]["2xx"], stats["durations"]["count"]) == (3, 3)
    assert stats["instances"] == 3


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/env", 200, "GREETING=hello\n"),
        ("/long", 200, "hello from wasm\n"),
        ("/teapot", 418, ""),
        ("/nowhere", 404, ""),
    ],
)
async def test_answers(runtime: Runtime, path: str, status: int, body: str) -> None:
    """Status and body are the guest's; it has the pod's environment."""
    async with (
        serving.worker(runtime) as worker,
        aiohttp.ClientSession() as client,
        client.get(worker.url(path)) as got,
    ):
        assert (got.status, await got.text()) == (status, body)


async def test_a_port_of_the_host_serves_the_same(runtime: Runtime) -> None:
    """Beside the container's own; closed with it."""
    beside = records.HostPort("", serving.free_port())
    async with (
        serving.worker(runtime, host_ports=(beside,)) as worker,
        aiohttp.ClientSession() as c,
    ):
        for port in (worker.port, beside.port):
            async with c.get(f"http://{serving.LOOPBACK}:{port}/hello") as got:
                assert await got.text() == "hello from wasm\n"

    def is_closed() -> bool:
        with socket.socket() as client:
            return client.connect_ex((serving.LOOPBACK, beside.port)) != 0

    running.until(is_closed, "the port of the host is closed")


async def test_bodies_stream_both_ways(runtime: Runtime) -> None:
    """What was sent comes back before the rest is sent."""
    async with serving.worker(runtime) as worker:
        reader, writer = await asyncio.open_connection(serving.LOOPBACK, worker.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"5\r\nfirst\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"first\r\n") == b"5\r\nfirst\r\n"
        writer.write(b"6\r\nsecond\r\n")
        assert await reader.readuntil(b"second\r\n") == b"6\r\nsecond\r\n"
        writer.write(b"0\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        writer.close()
        await writer.wait_closed()

    assert b"transfer-encoding: chunked" in head.lower()


async def test_large_bodies(runtime: Runtime) -> None:
    """Every byte comes back, in order, from many clients at a time."""
    sent = [bytes([i]) * 700_000 for i in range(8)]

    async def echo(client: aiohttp.ClientSession, body: bytes, url: str) -> bytes:
        async with client.post(url, data=body) as got:
            return await got.read()

    async with (
        serving.worker(runtime) as worker,
        aiohttp.ClientSession() as client,
        asyncio.TaskGroup() as group,
    ):
        url = worker.url("/echo")
        tasks = [group.create_task(echo(client, body, url)) for body in sent]

    assert [task.result() for task in tasks] == sent


async def test_trailers(runtime: Runtime) -> None:
    """A guest's trailers reach a client that takes them."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            request = serving.get("/trailers", "te: trailers")
            got = await asyncio.to_thread(serving.ask, client, request)

    assert got.endswith(b"7\r\nsummed\n\r\n0\r\nx-sum: 42\r\n\r\n")


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_grpc_probe_reaches_the_very_guest(runtime: Runtime, accepts: bool) -> None:
    """It is asked over its own socket, whoever else is on the port."""
    async with serving.worker(runtime, accepts=accepts) as worker:
        path = layout.guest_socket(runtime.settings.run, worker.spec.id)
        at = probe.Endpoint(serving.LOOPBACK, worker.port, path)
        check = probe.Grpc(worker.port, "any")
        wanted = probe.Probe(probe.Kind.READINESS, check, 0, 10, 10, 1, 3, None)

        assert probe.Passed() == await network.NetworkProber().probe(wanted, at)


async def test_a_client_may_ask_first(runtime: Runtime) -> None:
    """`Expect: 100-continue` is answered when the guest reads."""
    async with serving.worker(runtime) as worker:
        reader, writer = await asyncio.open_connection(serving.LOOPBACK, worker.port)
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n"
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"ok" in await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_head(runtime: Runtime) -> None:
    """The head of a GET, without its body, and the connection goes on."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            client.sendall(b"HEAD /long HTTP/1.1\r\nHost: x\r\n\r\n")
            got = await asyncio.to_thread(serving.ask, client, serving.get("/hello"))

        assert (await worker.stats())["traps"] == 0
    first, _, second = got.partition(b"\r\n\r\n")
    assert b"content-length: 16" in first.lower()
    assert second.startswith(b"HTTP/1.1 200 OK")


async def test_http_1_0(runtime: Runtime) -> None:
    """An old client needs no host, and has its connection closed."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            got = await asyncio.to_thread(serving.ask, client, b"GET /long HTTP/1.0\r\n\r\n")

    assert got.startswith(b"HTTP/1.0 200 OK")
    assert got.endswith(b"hello from wasm\n")


@pytest.mark.parametrize(("reuse", "counts"), [(1, "1111"), (3, "1231")])
async def test_an_instance_serves_so_many(runtime: Runtime, reuse: int, counts: str) -> None:
    """One has requests of its own only, or as many as the pod says."""
    async with serving.worker(runtime, reuse=reuse) as worker, aiohttp.ClientSession() as client:
        seen = ""
        for _ in counts:
            async with client.get(worker.url("/count")) as got:
                seen += await got.text()

        assert seen == counts


async def test_lines_of_guests_do_not_mix(runtime: Runtime) -> None:
    """Two that print parts of lines at a time have a line each in the log."""
    async with serving.worker(runtime) as worker, aiohttp.ClientSession() as client:

        async def ask() -> None:
            async with client.get(worker.url("/print")) as got:
                assert got.status == 200

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
        running.until(lambda: len(worker.log()) == 4, "all have printed")

        assert worker.log() == ["stdout one line"] * 4


async def test_ports_are_for_those_that_accept(runtime: Runtime) -> None:
    """A connection waits until the worker is told to accept; probes do not."""
    async with serving.worker(runtime, accepts=False) as worker:
        with worker.raw() as waiting:
            waiting.sendall(serving.get("/hello"))
            async with (
                aiohttp.ClientSession(connector=worker.door()) as probe,
                probe.get("http://guest/hello") as got,
            ):
                assert got.status == 200
            waiting.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.recv(1)
            waiting.settimeout(running.WITHIN_S)
            assert await worker.accepting(wanted=True) == 204
            assert await worker.accepting(wanted=True) == 204
            assert b"hello" in await asyncio.to_thread(serving.read_all, waiting)
        assert await worker.accepting(wanted=False) == 204
        with worker.raw() as refused:
            refused.sendall(serving.get("/hello"))
            refused.setblocking(False)
            assert (await worker.stats())["requests"]["2xx"] == 2
            with pytest.raises(BlockingIOError):
                refused.recv(1)


async def test_the_admin_socket_says_what_it_does_not_know(runtime: Runtime) -> None:
    """Anything but its two requests is answered, and changes nothing."""
    async with serving.worker(runtime, accepts=False) as worker:
        path = worker.door().path.replace(".guest", ".admin")
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as admin:
            answers = []
            for method, target, body in [
                ("PUT", "/accepting", "maybe"),
                ("PUT", "/accepting", "true" * 100),
                ("POST", "/stats", ""),
                ("GET", "/", ""),
            ]:
                async with admin.request(method, f"http://admin{target}", data=body) as got:
                    answers.append(got.status)

    assert answers == [400, 400, 405, 404]


async def test_workers_share_a_port(runtime: Runtime) -> None:
    """A queue is for all that accept; one that stops loses nothing."""
    wanted = serving.http()
    both: dict[str, Any] = {"ports": wanted.ports, "owner": wanted.owner, "concurrency": 128}
    async with serving.worker(runtime, **both) as one, serving.worker(runtime, **both) as other:
        answers: list[int] = []

        async def ask() -> None:
            async with (
                aiohttp.ClientSession() as client,
                client.get(one.url("/hello")) as got,
            ):
                answers.append(got.status)

        async with asyncio.TaskGroup() as group:
            for at in range(60):
                group.create_task(ask())
                if at == 30:
                    await one.accepting(wanted=False)
        served = [(await each.stats())["requests"]["2xx"] for each in (one, other)]

    assert answers == [200] * 60
    assert sum(served) == 60
    assert served[1] > 0


async def test_a_client_that_goes_ends_its_guest(runtime: Runtime) -> None:
    """A stream without end ends with its reader."""
    async with serving.worker(runtime) as worker:
        with worker.raw() as client:
            client.sendall(serving.get("/ever"))
            await asyncio.to_thread(client.recv, 100)
            assert (await worker.stats())["live_instances"] == 1
            client.shutdown(socket.SHUT_RDWR)
        async with asyncio.timeout(running.WITHIN_S):
            while (found := await worker.stats())["live_instances"] or found["in_flight"]:
                await asyncio.sleep(0.01)
