"""A server of the test's own, for what asks others: probes and hooks."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any


class Health:
    """A server that answers with `status`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[tuple[str, dict[str, str]]] = []
        told = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.asked.append((self.path, dict(self.headers)))
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

    def http(self, **probe: Any) -> dict[str, Any]:
        """Give a probe that asks this server every second."""
        get = {"host": "127.0.0.1", "port": self.port, "path": "/healthz?x=1"}
        return {"httpGet": get, "periodSeconds": 1, "failureThreshold": 1} | probe


@contextlib.contextmanager
def running() -> Iterator[Health]:
    """Give a server that is healthy until told otherwise."""
    made = Health()
    serving = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    serving.start()
    yield made
    made.server.shutdown()
    serving.join()
    made.server.server_close()
