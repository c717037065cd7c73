"""A worker that serves HTTP, run by a real runtime, and clients for it."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from e2e.cluster import ports
from tests.component.http import programs
from tests.component.runtime import running
from wasm_node.protocol import layout, records

LOOPBACK = "127.0.0.1"
_GIVEN: set[int] = set()
DENIED = "error 15"  # cases of wasi:http's error-code, the same in 0.2 and 0.3
PROHIBITED = "error 4"


@dataclasses.dataclass
class Worker:
    """One worker; its port answers once it accepts."""

    runtime: running.RunningRuntime
    spec: records.ContainerSpec
    pid: int

    @property
    def port(self) -> int:
        """Return its first port."""
        assert self.spec.http is not None
        return self.spec.http.ports[0]

    def url(self, path: str) -> str:
        """Return a URL on its port."""
        return f"http://{LOOPBACK}:{self.port}{path}"

    async def accepting(self, *, wanted: bool) -> int:
        """Have it accept, or not; return the status of that."""
        body = json.dumps(wanted)
        async with self._admin() as admin, admin.put("http://admin/accepting", data=body) as put:
            return put.status

    async def stats(self) -> dict[str, Any]:
        """Return its figures."""
        async with self._admin() as admin, admin.get("http://admin/stats") as got:
            return dict(await got.json())

    def log(self) -> list[str]:
        """Return what its log says, without times."""
        return [f"{stream} {text}" for stream, _, text in self.runtime.log(self.spec)]

    def raw(self) -> socket.socket:
        """Return a connection to its port."""
        return socket.create_connection((LOOPBACK, self.port), timeout=running.WITHIN_S)

    def door(self) -> aiohttp.UnixConnector:
        """Return the agent's own way to the guest."""
        path = layout.guest_socket(self.runtime.settings.run, self.spec.id)
        return aiohttp.UnixConnector(str(path))

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[aiohttp.ClientSession]:
        path = layout.admin_socket(self.runtime.settings.run, self.spec.id)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            yield session


def http(**fields: Any) -> records.Http:
    """Describe serving, with limits that tests need not wait for."""
    wanted: dict[str, Any] = {
        "mode": "proxy",
        "owner": f"test/Pod/{uuid.uuid4()}",
        "ports": (free_port(),),
        "reuse": 1,
        "concurrency": 16,
        "timeout_s": 10.0,
        "max_body_bytes": 1 << 20,
        "max_header_bytes": 1 << 14,
        "idle_s": 30.0,
        "linger_s": 5.0,
    }
    return records.Http(**(wanted | fields))


@contextlib.asynccontextmanager
async def worker(
    runtime: running.RunningRuntime,
    *,
    program: Path | None = None,
    accepts: bool = True,
    memory: int | None = None,
    grants: records.Grants | None = None,
    env: Sequence[tuple[str, str]] = (("GREETING", "hello"),),
    mounts: Sequence[records.Mount] = (),
    **fields: Any,
) -> AsyncIterator[Worker]:
    """Give a worker of its own; `fields` are those of `http`."""
    spec = runtime.spec(
        program or programs.component(),
        pod=f"p{uuid.uuid4()}",
        memory=memory,
        env=env,
        mounts=mounts,
    )
    spec = dataclasses.replace(spec, http=http(**fields), grants=grants)
    await runtime.prepared(spec)
    fact = await runtime.started(spec)
    made = Worker(runtime, spec, fact.pid)
    try:
        if accepts:
            assert await made.accepting(wanted=True) == 204
        yield made
    finally:
        await runtime.containers.stop(spec.id, grace_s=0.0)
        running.until(lambda: running.is_gone(made.pid), "the worker is gone")


@contextlib.asynccontextmanager
async def neighbour() -> AsyncIterator[int]:
    """Serve 204 on a port of this host."""

    async def nothing(_: web.Request) -> web.Response:
        return web.Response(status=204)

    application = web.Application()
    application.router.add_get("/", nothing)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, free_port())
        await site.start()
        yield int(site.name.rpartition(":")[2])
    finally:
        await runner.cleanup()


def granted(spec: records.ContainerSpec, grants: records.Grants) -> records.ContainerSpec:
    """Return the spec of a command with these grants."""
    return dataclasses.replace(spec, grants=grants)


def free_port() -> int:
    """
    Return a port that nobody has, another one at each call.

    It is none that the kernel gives to clients, so it stays free until then.
    """
    while True:
        with ports.claim() as port:
            if port not in _GIVEN:
                _GIVEN.add(port)
                return port


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send a whole request and read until the other side closes."""
    connection.sendall(request)
    with contextlib.suppress(ConnectionResetError):
        return read_all(connection)
    return b""


@contextlib.asynccontextmanager
async def held(made: Worker, count: int) -> AsyncIterator[Callable[[], Awaitable[list[bytes]]]]:
    """
    Have so many requests under way for as long as the test wants.

    Their guests wait for the rest of what they are to echo; what is given
    sends that, and returns the answers.
    """
    head = b"POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(made.raw()) for _ in range(count)]
        for each in clients:
            each.sendall(head)
        async with asyncio.timeout(running.WITHIN_S):
            while (await made.stats())["in_flight"] < count:
                await asyncio.sleep(0.01)

        async def finish() -> list[bytes]:
            return [await asyncio.to_thread(ask, each, b"hello") for each in clients]

        yield finish


def get(path: str, *headers: str) -> bytes:
    """Return a request after which the connection closes."""
    lines = [f"GET {path} HTTP/1.1", "Host: here", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def switches(pid: int) -> int:
    """Return how often a process has been woken."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "voluntary_ctxt" in line)


def private_kib(pid: int) -> int:
    """Return what a process has written of memory, its own alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))
