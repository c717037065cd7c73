"""`/healthz`: this process answers; whether the node is well, the Node says."""

from aiohttp import web


async def healthz(_request: web.Request) -> web.Response:
    """Say ok."""
    return web.Response(text="ok")
