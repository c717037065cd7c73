"""
A proxy between an agent and its API server, which does it every wrong.

It is the API server to the agent, and the agent to the API server: its own
connections are made with the node's certificate. It can vanish for a while,
cut all connections, be slow, and answer with errors - before it has passed a
request on, or after, so that what was done is told to have failed.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Iterator

import aiohttp
import yarl
from aiohttp import web

from e2e.chaos import background
from e2e.cluster.controlplane import ControlPlane, NodeCredentials

_PERSONAL = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
_ERRORS = (429, 500, 503)
_SHARE = 0.5
_SILENT = logging.getLogger("chaos proxy")
_SILENT.disabled = True  # that connections break is what it is for


class Proxy:
    """One that stands; its faults end by themselves after `for_s` seconds."""

    def __init__(
        self, plane: ControlPlane, node: NodeCredentials, port: int, chance: random.Random
    ) -> None:
        self._upstream = plane.server
        self._tls = ssl.create_default_context(cafile=str(plane.ca))
        self._tls.load_cert_chain(node.client.cert, node.client.key)
        self._served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._served.load_cert_chain(node.serving.cert, node.serving.key)
        self._chance = chance
        self._slow_until = self._wrong_until = 0.0
        self._port = port
        self._open = asyncio.Event()
        self._leave = asyncio.Event()
        self._back_at = 0.0

    @property
    def server(self) -> str:
        """The URL of the API server that it is."""
        return f"https://127.0.0.1:{self._port}"

    async def run(self) -> None:
        """Serve until cancelled."""
        application = web.Application(client_max_size=0)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, logger=_SILENT, shutdown_timeout=0.1
        )
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            await self._runner.setup()
            try:
                while True:
                    site = web.TCPSite(
                        self._runner, "127.0.0.1", self._port, ssl_context=self._served
                    )
                    await site.start()
                    self._open.set()
                    await self._leave.wait()
                    self._open.clear()
                    await site.stop()
                    self._cut()
                    while (left_s := self._back_at - time.monotonic()) > 0:
                        await asyncio.sleep(left_s)
                    self._leave.clear()
            finally:
                self._cut()
                await self._runner.cleanup()

    async def opened(self) -> None:
        """Return once it listens."""
        await self._open.wait()

    async def cut(self) -> None:
        """Break all connections; new ones are taken."""
        self._cut()

    async def vanish(self, for_s: float) -> None:
        """Be gone: nobody listens, and nothing is left of a connection."""
        self._back_at = max(self._back_at, time.monotonic() + for_s)
        self._open.clear()
        self._leave.set()

    async def slow(self, for_s: float) -> None:
        """Let everything take its time."""
        self._slow_until = time.monotonic() + for_s

    async def fail(self, for_s: float) -> None:
        """Answer many requests with errors."""
        self._wrong_until = time.monotonic() + for_s

    def _cut(self) -> None:
        server = self._runner.server
        for each in server.connections if server else ():
            if each.transport is not None:
                each.transport.abort()

    async def _pause(self) -> None:
        if time.monotonic() < self._slow_until:
            await asyncio.sleep(self._chance.uniform(0.2, 2))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await self._pause()
        fails = time.monotonic() < self._wrong_until and self._chance.random() < _SHARE
        if fails and self._chance.random() < _SHARE:
            return self._error()
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _PERSONAL}
        url = yarl.URL(self._upstream + request.raw_path, encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body, ssl=self._tls, timeout=timeout
            ) as answer:
                return self._error() if fails else await self._pass_on(request, answer)
        except aiohttp.ClientConnectionError:
            if (transport := request.transport) is not None:
                transport.abort()
            raise

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        headers = {k: v for k, v in answer.headers.items() if k.lower() not in _PERSONAL}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await self._pause()
            await response.write(chunk)
        await response.write_eof()
        return response

    def _error(self) -> web.Response:
        status = self._chance.choice(_ERRORS)
        said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
        text = {"message": "chaos: an error for nothing", "reason": "Chaos"}
        return web.json_response(said | text, status=status, headers={"Retry-After": "1"})


@contextlib.contextmanager
def running(
    beside: background.Background,
    plane: ControlPlane,
    node: NodeCredentials,
    port: int,
    chance: random.Random,
) -> Iterator[Proxy]:
    """Give a proxy that listens."""
    made = Proxy(plane, node, port, chance)
    serving = asyncio.run_coroutine_threadsafe(made.run(), beside.loop)
    beside.call(made.opened())
    try:
        yield made
    finally:
        serving.cancel()
