"""Answers every request with JSON about it, and about who answers."""

import json
import sys

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import types


class IncomingHandler(exports.IncomingHandler):
    """What the node calls: the interface wasi:http/incoming-handler."""

    def handle(self, request: types.IncomingRequest, response_out: types.ResponseOutparam) -> None:
        """Answer; an exception here would be a 500, and its text in the log."""
        said = {
            "python": ".".join(map(str, sys.version_info[:3])),
            "path": request.path_with_query(),
            "headers": {name: value.decode() for name, value in request.headers().entries()},
        }
        headers = types.Fields.from_list([("content-type", b"application/json")])
        response = types.OutgoingResponse(headers)
        body = response.body()
        types.ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(json.dumps(said).encode() + b"\n")
        types.OutgoingBody.finish(body, None)
