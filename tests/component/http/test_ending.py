"""SIGTERM loses no request, and an idle worker costs nothing."""

import asyncio
import contextlib
import os
import signal
from typing import Any

import aiohttp

from tests.component.http import serving
from tests.component.runtime import running
from wasm_node.protocol.records import EndedBy

Runtime = running.RunningRuntime
_KEPT = b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n"


async def test_what_was_asked_is_answered(runtime: Runtime) -> None:
    """A request in flight is finished, then the worker ends as completed."""
    async with (
        serving.worker(runtime, linger_s=0.0) as worker,
        aiohttp.ClientSession() as client,
        asyncio.TaskGroup() as group,
    ):

        async def ask() -> tuple[int, str, str | None]:
            async with client.get(worker.url("/stream")) as got:
                return got.status, await got.text(), got.headers.get("Connection")

        asked = group.create_task(ask())
        async with asyncio.timeout(running.WITHIN_S):
            while not (await worker.stats())["in_flight"]:
                await asyncio.sleep(0.01)
        os.kill(worker.pid, signal.SIGTERM)
        how = await worker.runtime.ended(worker.spec.id)

        assert (await asked)[:2] == (200, "tick\n" * 10)
        assert (how.code, how.reason) == (0, "Completed")
        assert how.ended_by in {EndedBy.STOP, EndedBy.ITSELF}


async def test_clients_that_have_not_heard(runtime: Runtime) -> None:
    """While connections come it goes on, and says that it closes each."""
    async with serving.worker(runtime, linger_s=600.0) as worker:
        now = asyncio.get_running_loop().time
        os.kill(worker.pid, signal.SIGTERM)
        until = now() + 1.5  # a second without any is the end
        while now() < until:
            async with (
                aiohttp.ClientSession() as client,
                client.get(worker.url("/hello")) as got,
            ):
                assert (got.status, got.headers["Connection"]) == (200, "close")

        assert (await worker.runtime.ended(worker.spec.id)).code == 0


async def test_a_client_that_has_just_come_is_answered(runtime: Runtime) -> None:
    """Its connection was taken before the end, its request comes after it."""
    async with serving.worker(runtime, linger_s=0.0) as worker:
        with worker.raw() as client:
            async with asyncio.timeout(running.WITHIN_S):
                while not (await worker.stats())["connections"]:
                    await asyncio.sleep(0.01)
                os.kill(worker.pid, signal.SIGTERM)
                while not await _has_left(worker):
                    await asyncio.sleep(0.01)
            answer = await asyncio.to_thread(serving.ask, client, _KEPT)

        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in answer


async def _has_left(worker: serving.Worker) -> bool:
    """Say whether it takes no connections any more, not even the agent's."""
    try:
        async with aiohttp.ClientSession(connector=worker.door()) as agent:
            await agent.head("http://guest/hello")
    except aiohttp.ClientConnectionError:
        return True
    return False


async def test_open_connections_are_no_reason_to_stay(runtime: Runtime) -> None:
    """Idle ones are closed after the time in which clients may still come."""
    async with serving.worker(runtime, linger_s=0.2) as worker:
        with worker.raw() as idle:
            idle.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.to_thread(idle.recv, 1000)
            os.kill(worker.pid, signal.SIGTERM)
            await worker.runtime.ended(worker.spec.id)

            assert await asyncio.to_thread(idle.recv, 1000) == b""


async def test_a_guest_that_never_ends_is_killed(runtime: Runtime) -> None:
    """The end of the grace period is the end."""
    async with serving.worker(runtime, linger_s=0.0) as worker:
        with worker.raw() as client:
            client.sendall(serving.get("/ever"))
            await asyncio.to_thread(client.recv, 100)
            await worker.runtime.containers.stop(worker.spec.id, grace_s=0.5)
            how = await worker.runtime.ended(worker.spec.id)

    assert how.ended_by is EndedBy.STOP


async def test_an_idle_worker_is_not_woken(runtime: Runtime) -> None:
    """After the last request memory is given back, and then no timer runs."""
    async with (
        serving.worker(runtime, idle_s=0.5) as worker,
        aiohttp.ClientSession() as client,
    ):

        async def asks(path: str) -> None:
            async with client.get(worker.url(path)) as got:
                await got.read()
                assert got.status == 200

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(asks("/stream"))
        busy = serving.private_kib(worker.pid)
        running.until(lambda: serving.private_kib(worker.pid) < busy - 200, "it gives back")
        looks: list[int] = []
        running.until(lambda: _stands_still(looks, worker.pid), "it is done with that")
        before = serving.switches(worker.pid)
        await asyncio.sleep(1.0)

        assert serving.switches(worker.pid) == before
        assert running.thread_count(worker.pid) == 1
        await asks("/hello")


def _stands_still(looks: list[int], pid: int) -> bool:
    """Look once more; say whether nothing has woken it for forty looks."""
    looks.append(serving.switches(pid))
    return len(looks) >= 40 and len(set(looks[-40:])) == 1


async def test_a_rolling_update_loses_nothing(runtime: Runtime) -> None:
    """Clients that never stop asking are answered, each by some worker."""
    wanted = serving.http(linger_s=2.0)
    both: dict[str, Any] = {"ports": wanted.ports, "owner": wanted.owner, "linger_s": 2.0}
    failed: list[object] = []
    answered = 0
    async with contextlib.AsyncExitStack() as stack:
        old = await stack.enter_async_context(serving.worker(runtime, **both))
        over = asyncio.Event()

        async def keep_asking() -> None:
            nonlocal answered
            async with aiohttp.ClientSession() as client:
                while not over.is_set():
                    try:
                        async with client.get(old.url("/hello")) as got:
                            await got.read()
                            if got.status != 200:
                                failed.append(got.status)
                            answered += 1
                    except aiohttp.ClientError as error:
                        failed.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(keep_asking())
            for _ in range(3):
                new = await stack.enter_async_context(serving.worker(runtime, **both))
                os.kill(old.pid, signal.SIGTERM)
                await old.runtime.ended(old.spec.id)
                old = new
            over.set()

    assert failed == []
    assert answered > 100
