"""
The kubelet API: the port at which the API server asks for logs.

Everything is bounded: header sizes, idle connections, streams, and the time
that an ending server waits for the requests under way.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from wasm_node.agent import errors, settings
from wasm_node.agent.server import (
    auth,
    connections,
    container_logs,
    refusals,
    routes,
    seams,
    tls,
)

_KEEP_ALIVE_S = 90.0
_LAST_REQUESTS_S = 1.0
_OTHER_CONNECTIONS = 500
_MAX_BODY_BYTES = 64 * 1024
_MAX_HEADER_BYTES = 8190  # of one header; a service account's token has about 1,200


class KubeletServer:
    """
    Serves the kubelet API of one node.

    Attributes:
        chosen: address, port and files.
        node_name: of the Node on which rights are asked for.
        reviewer: asked about each request's user.
        logs: what `kubectl logs` shows.
        figures: what `/metrics` shows, in Prometheus' text format.
        most_streams: at a time; more are refused with 429.
        awaited: the certificates' files may still have to come.
        reload_s: seconds between two looks at the certificates' files.
        silent_s: for a TLS handshake, and as many to a first request.
    """

    def __init__(
        self,
        chosen: settings.Kubelet,
        node_name: str,
        reviewer: seams.Reviewer,
        logs: seams.PodLogs,
        figures: Callable[[], Awaitable[bytes]],
        *,
        awaited: bool = False,
        most_streams: int = 1000,
        reload_s: float = 10.0,
        silent_s: float = 10.0,
    ) -> None:
        self._chosen = chosen
        self._guard = auth.Guard(node_name, reviewer)
        self._logs = logs
        self._figures = figures
        self._streams = container_logs.Streams(most_streams)
        self._connections = connections.Connections(
            most=most_streams + _OTHER_CONNECTIONS, silent_s=silent_s
        )
        self._awaited = awaited
        self._reload_s = reload_s
        self._serving: tls.ServingTls | None = None

    def __repr__(self) -> str:
        """Show what is going on."""
        return f"<KubeletServer {self._streams!r}>"

    async def look_again(self) -> None:
        """Take the certificates' files over now: they may have changed."""
        if self._serving is not None:
            await asyncio.to_thread(self._serving.reload)

    async def follow_files(self) -> None:
        """Take changed certificates' files over, until cancelled."""
        while True:
            await asyncio.sleep(self._reload_s)
            await self.look_again()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[int]:
        """
        Serve for the length of the context, which is given the port.

        Raises:
            BadInput: the certificates cannot be used.
            GaveUp: the address cannot be had.
        """
        chosen = self._chosen
        self._serving = serving = await asyncio.to_thread(
            tls.ServingTls,
            chosen.certificate_file,
            chosen.key_file,
            chosen.client_ca_file,
            awaited=self._awaited,
        )
        runner = web.AppRunner(
            self._application(),
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LAST_REQUESTS_S,
            shutdown_timeout=_LAST_REQUESTS_S,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        await runner.setup()
        try:
            listener = await self._listen(runner, serving)
            with contextlib.closing(listener):
                yield int(listener.sockets[0].getsockname()[1])
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        rows: dict[web.AbstractRoute, routes.Route] = {}
        app = web.Application(
            middlewares=[self._connections.hear, refusals.refuse, self._guard.middleware(rows)],
            client_max_size=_MAX_BODY_BYTES,
        )
        for each in routes.TABLE:
            rows[app.router.add_route(each.method, each.path, each.handler)] = each
        app[seams.LOGS] = self._logs
        app[seams.METRICS] = self._figures
        app[container_logs.STREAMS] = self._streams
        return app

    async def _listen(self, runner: web.AppRunner, serving: tls.ServingTls) -> asyncio.Server:
        server = runner.server
        assert server is not None  # noqa: S101  # it is set up
        where = (self._chosen.bind, self._chosen.port)
        try:
            return await asyncio.get_running_loop().create_server(
                lambda: self._connections.accept(server),
                *where,
                ssl=serving.context,
                ssl_handshake_timeout=self._connections.silent_s,
            )
        except OSError as error:
            raise errors.GaveUp(
                f"cannot serve the kubelet API on {where[0]} port {where[1]}:"
                f" {os.strerror(error.errno or 0)}",
                reason="AddressUnavailable",
            ) from error
