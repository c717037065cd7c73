"""A server of the test's own, for what asks others: probes and hooks."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any

_HELD_S = 60.0


class Health:
    """
    A server that answers with `status`, and keeps what it was asked.

    No answer is given while `may_answer` is not set.
    """

    def __init__(self) -> None:
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked: list[tuple[str, dict[str, str]]] = []
        told = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.asked.append((self.path, dict(self.headers)))
                told.may_answer.wait(_HELD_S)
                self.send_response(told.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return self.server.server_address[1]

    def ask(self, path: str = "/bye") -> dict[str, Any]:
        """Give a hook that asks this server."""
        return {"httpGet": {"path": path, "port": self.port, "host": "127.0.0.1"}}

    def http(self, **probe: Any) -> dict[str, Any]:
        """Give a probe that asks this server every second."""
        get = {"host": "127.0.0.1", "port": self.port, "path": "/healthz?x=1"}
        often = {"periodSeconds": 1, "failureThreshold": 1}
        return {"httpGet": get, **often, "timeoutSeconds": 20} | probe  # on a busy machine


@contextlib.contextmanager
def running() -> Iterator[Health]:
    """Give a server that is healthy until told otherwise."""
    made = Health()
    serving = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    serving.start()
    yield made
    made.may_answer.set()
    made.server.shutdown()
    serving.join()
    made.server.server_close()
