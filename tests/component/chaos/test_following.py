"""Followers of the API server, such as the record of a chaos run."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent import futures

import pytest

from e2e import following
from e2e.cluster import api

_WITHIN_S = 10.0


class _Server(api.Api):
    """
    One whose watches have nothing to tell and no end.

    `opened` is set when the first is there; who asked has it after `go`.
    """

    def __init__(self) -> None:
        self.opened, self.go = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []

    @contextlib.contextmanager
    def stream(self, path: str) -> Iterator[api.Stream]:
        """Open one."""
        connection = http.client.HTTPConnection(*self._listener.getsockname())
        connection.connect()
        server, _ = self._listener.accept()
        self._held.append(server)
        server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            made = api.Stream(connection, path)
            self.opened.set()
            self.go.wait(_WITHIN_S)
            yield made
        finally:
            connection.close()

    def close(self) -> None:
        """Go away, and so end every watch."""
        for each in (self._listener, *self._held):
            each.close()


class _Reader(following.Follower):
    def _follow(self) -> None:
        with self._opened("/") as stream:
            list(stream)


@pytest.fixture
def server() -> Iterator[_Server]:
    """Give a server; with it goes whatever still follows it."""
    made = _Server()
    yield made
    made.close()


@pytest.mark.parametrize("during", ["a watch", "the opening of a watch"])
def test_whenever_it_is_left_it_ends(server: _Server, during: str) -> None:
    """Also where the stream that it has to end comes only after that."""
    reader = _Reader(server, "reader")
    reader.__enter__()
    assert server.opened.wait(_WITHIN_S)
    if during == "a watch":
        server.go.set()
    with futures.ThreadPoolExecutor(1) as beside:
        leaving = beside.submit(reader.__exit__)
        assert reader._over.wait(_WITHIN_S)
        server.go.set()
        try:
            leaving.result(_WITHIN_S)
        finally:
            server.close()
