"""
A registry that does what no registry should, on loopback.

It serves images as a good one would; a test puts a handler of its own in the
place of any path. `asked` is the ledger of what came in.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from tests.component.oci import publishing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Misbehaving:
    """
    The registry's contents and its quirks.

    Attributes:
        address: host:port.
        asked: (path, Authorization header) of each request.
        quirks: handlers by path, without the `/v2/` in front.
    """

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[tuple[str, str]] = []
        self.quirks: dict[str, Handler] = {}
        self._contents: dict[str, tuple[str, bytes]] = {}

    def serve(self, repository: str, tag: str, image: publishing.Image) -> None:
        """Have an image under a tag and its digest."""
        for wanted in (tag, image.digest):
            self._contents[f"{repository}/manifests/{wanted}"] = (
                publishing.MANIFEST,
                image.manifest,
            )
        for digest, content in image.blobs.items():
            self._contents[f"{repository}/blobs/{digest}"] = ("application/octet-stream", content)

    def paths(self) -> list[str]:
        """Return what was asked for, in order."""
        return [path for path, _ in self.asked]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as a test wants it, else as a registry does."""
        path = request.path.removeprefix("/v2/")
        self.asked.append((path, request.headers.get("Authorization", "")))
        if path in self.quirks:
            return await self.quirks[path](request)
        return self.good(path)

    def good(self, path: str) -> web.Response:
        """Return what a good registry answers."""
        if path not in self._contents:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return web.json_response(error, status=404)
        kind, content = self._contents[path]
        return web.Response(body=content, headers={"Content-Type": kind})


@contextlib.asynccontextmanager
async def running(tls: ssl.SSLContext | None = None) -> AsyncIterator[Misbehaving]:
    """Serve on a free port of loopback, by HTTPS if there is a certificate."""
    registry = Misbehaving()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", registry.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        registry.address = f"{host}:{port}"
        yield registry
    finally:
        await runner.cleanup()
