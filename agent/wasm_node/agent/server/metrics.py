"""`/metrics`: the node's own figures, for Prometheus."""

import asyncio

import prometheus_client
from aiohttp import web

from wasm_node.agent.server import seams


async def metrics(request: web.Request) -> web.Response:
    """Show all of them as of now."""
    text = await asyncio.to_thread(request.app[seams.METRICS])  # it reads /proc
    return web.Response(body=text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})
