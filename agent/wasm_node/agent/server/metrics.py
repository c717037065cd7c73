"""`/metrics`: the node's own figures, for Prometheus."""

import prometheus_client
from aiohttp import web

from wasm_node.agent.server import seams


async def metrics(request: web.Request) -> web.Response:
    """Show all of them as of now."""
    text = await request.app[seams.METRICS]()
    return web.Response(body=text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})
