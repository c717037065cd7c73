"""What a kubelet serves and this node does not yet: kubectl's user is told."""

from http import HTTPStatus

from aiohttp import web


async def unserved(request: web.Request) -> web.Response:
    """Refuse by name; kubectl shows the text."""
    what = request.path.split("/")[1]
    text = f"cannot {what}: nodes of this version of wasm-node do not serve it; see kubectl logs"
    return web.Response(status=HTTPStatus.NOT_IMPLEMENTED, text=text)
