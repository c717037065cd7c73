"""
Plain-HTTP `/healthz` and `/readyz`: for whoever keeps this process alive.

It runs on a thread and an event loop of its own, because its one question is
whether the agent's loop still turns: a loop that is stuck could not say so.
Waiting for something outside (a lock, an approval, the API server) is alive.
Ready is an agent that serves its node, and one that stands by to take over:
an update ends the old agent only when the new one is ready.
"""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Coroutine

from aiohttp import web

from wasm_node.agent import errors
from wasm_node.agent.server import connections

STUCK_S = 15.0
_BEAT_S = 1.0
_MOST_CONNECTIONS = 32
_SILENT_S = 5.0
_LAST_REQUESTS_S = 0.5


class Liveness:
    """
    What is to be told; `run` tells it.

    Attributes:
        stuck_s: without a beat for so long, the loop counts as stuck.
    """

    def __init__(self, *, stuck_s: float = STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._doing = "starting"
        self._ready = False
        self._beaten = time.monotonic()

    def say(self, doing: str, *, ready: bool) -> None:
        """Tell people what the agent does now, and whether it is ready."""
        self._doing, self._ready = doing, ready

    async def beat(self) -> None:
        """Show that the loop turns, until cancelled."""
        while True:
            self._beaten = time.monotonic()
            await asyncio.sleep(_BEAT_S)

    @contextlib.asynccontextmanager
    async def run(self, bind: str, port: int) -> AsyncIterator[int]:
        """
        Answer for the length of the context, which is given the port.

        Raises:
            GaveUp: the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        try:
            listener = socket.create_server((bind, port), family=family)
        except OSError as error:
            raise errors.GaveUp(
                f"cannot answer health checks on {bind} port {port}:"
                f" {os.strerror(error.errno or 0)}; choose another healthPort",
                reason="AddressUnavailable",
            ) from error
        loop = asyncio.new_event_loop()
        ending = asyncio.Event()
        serving = self._serve(listener, ending)
        thread = threading.Thread(target=_run, args=(loop, serving), name="liveness", daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            loop.call_soon_threadsafe(ending.set)
            await asyncio.to_thread(thread.join)

    async def _serve(self, listener: socket.socket, ending: asyncio.Event) -> None:
        bounds = connections.Connections(most=_MOST_CONNECTIONS, silent_s=_SILENT_S)
        app = web.Application(middlewares=[bounds.hear])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=_SILENT_S, shutdown_timeout=_LAST_REQUESTS_S
        )
        await runner.setup()
        server = runner.server
        assert server is not None  # noqa: S101  # it is set up
        listening = await asyncio.get_running_loop().create_server(
            lambda: bounds.accept(server), sock=listener
        )
        with contextlib.closing(listening):
            await ending.wait()
        await runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return self._answer(well=True)

    async def _readyz(self, _request: web.Request) -> web.Response:
        return self._answer(well=self._ready)

    def _answer(self, *, well: bool) -> web.Response:
        silent_s = time.monotonic() - self._beaten
        if silent_s > self._stuck_s:
            text = f"stuck: the agent's loop has not turned for {silent_s:.0f} s\n"
            return web.Response(status=503, text=text)
        return web.Response(status=200 if well else 503, text=f"{self._doing}\n")


def _run(loop: asyncio.AbstractEventLoop, serving: Coroutine[None, None, None]) -> None:
    with contextlib.closing(loop):
        loop.run_until_complete(serving)
