"""
The smallest client of the API server: one JSON request at a time.

The fixtures use it to wait and to bind roles, tests use it to see the truth
without the code that they test. It is synchronous, needs no library, and
follows no redirect, retry or cache of anybody's.
"""

import contextlib
import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.cluster import pki

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"


class Refused(Exception):
    """The API server answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Stream:
    """The JSON lines of a watch, as they arrive."""

    def __init__(self, connection: http.client.HTTPConnection, path: str) -> None:
        connection.request("GET", path, headers={"Accept": "application/json"})
        self._socket = connection.sock
        self._answer = connection.getresponse()
        if self._answer.status >= 400:
            raise Refused(self._answer.status, self._answer.read().decode())

    def __iter__(self) -> Iterator[Any]:
        """Yield decoded lines until the server or `interrupt` ends it."""
        for line in self._answer:
            yield json.loads(line)

    def interrupt(self) -> None:
        """End it from another thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Api:
    """The API server as one user sees it."""

    def __init__(self, server: str, ca: Path, client: pki.Certificate) -> None:
        self._address = urllib.parse.urlsplit(server).netloc
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._tls.load_cert_chain(client.cert, client.key)

    @contextlib.contextmanager
    def stream(self, path: str) -> Iterator[Stream]:
        """
        Open a watch; it has no timeout.

        Raises:
            Refused, OSError: as for `call`.
        """
        connection = http.client.HTTPSConnection(self._address, context=self._tls)
        try:
            yield Stream(connection, path)
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Read an object; see `call`."""
        return self.call("GET", path)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
    ) -> Any:
        """
        Do one request and return the decoded answer, text if it is not JSON.

        Raises:
            Refused: the API server answered with status 400 or more.
            OSError: it cannot be reached, or went away meanwhile.
        """
        connection = http.client.HTTPSConnection(self._address, timeout=30, context=self._tls)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Content-Type": content_type, "Accept": "application/json, */*"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"cannot {method} {path}: {error!r}") from error
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        value: Any = json.loads(text) if is_json else text
        if answer.status >= 400:
            raise Refused(answer.status, value["message"] if is_json else text)
        return value
