"""Our errors as HTTP answers: the text is for the user of kubectl."""

from aiohttp import web
from aiohttp.typedefs import Handler

from wasm_node.agent import errors
from wasm_node.agent.server import log_query

_STATUSES = (
    (log_query.Invalid, 422),
    (errors.BadInput, 400),
    (errors.NotFound, 404),
    (errors.Retryable, 503),
    (errors.NodeError, 500),
)


@web.middleware
async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the error's own words."""
    try:
        return await handler(request)
    except errors.NodeError as error:
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        return web.Response(status=status, text=str(error))
