"""
`/containerLogs/NAMESPACE/POD/CONTAINER`: what `kubectl logs` shows.

The answer begins as soon as the log is open, also where nothing is in it yet.
A client that reads slowly slows the reading of its file; one that goes away
cancels this handler, which frees the file.
"""

import contextlib
import logging
import time
from collections.abc import Iterator

from aiohttp import web

from wasm_node.agent import errors
from wasm_node.agent.server import log_query, seams

logger = logging.getLogger(__name__)


class Streams:
    """How many answers are being streamed, and may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<Streams {self._open} of {self._most}>"

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """
        Count one for the length of the context.

        Raises:
            HTTPTooManyRequests: there are as many as may be.
        """
        if self._open >= self._most:
            raise web.HTTPTooManyRequests(
                text=f"cannot stream: {self._most} streams are open on this node; end some\n"
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


STREAMS = web.AppKey("STREAMS", Streams)


async def container_logs(request: web.Request) -> web.StreamResponse:
    """Stream one container's log."""
    options = log_query.parse(request.query, now_ns=time.time_ns())
    where = request.match_info
    with request.app[STREAMS].one_more():
        async with request.app[seams.LOGS].open(
            where["namespace"], where["pod"], where["container"], options
        ) as shown:
            response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
            await response.prepare(request)
            try:
                async for piece in shown:
                    await response.write(piece)
            except errors.NodeError as error:
                logger.warning("Cut off the answer to %s: %s", request.path, error)
                if request.transport is not None:
                    request.transport.abort()  # a proper end would look like all of the log
            return response
