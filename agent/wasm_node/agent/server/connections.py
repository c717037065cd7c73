"""
How many connections there may be, and how long one may say nothing.

aiohttp bounds the silence between requests, but not the one before the first:
whoever can reach the port could hold all of this process's descriptors
without ever giving a name.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler


class Connections:
    """
    Makes the protocol of each accepted connection, within bounds.

    Attributes:
        most: connections at a time; more are cut off when they come.
        silent_s: seconds for the TLS handshake, and as many to a first request.
    """

    def __init__(self, *, most: int, silent_s: float) -> None:
        self.silent_s = silent_s
        self._most = most
        self._silent: set[RequestHandler] = set()

    def accept(self, server: web.Server) -> asyncio.Protocol:
        """Return the protocol for one more connection."""
        if len(server.connections) >= self._most:
            return _CutOff()
        made = server()
        self._silent.add(made)
        # NB: only a finished handshake gives it a transport; by then it has.
        asyncio.get_running_loop().call_later(2 * self.silent_s, self._hang_up, made)
        return made

    @web.middleware
    async def hear(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note that there was a request."""
        self._silent.discard(request.protocol)
        return await handler(request)

    def _hang_up(self, made: RequestHandler) -> None:
        if made in self._silent:
            self._silent.remove(made)
            if made.transport is not None:
                made.transport.abort()


class _CutOff(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # of a stream protocol
        transport.abort()
