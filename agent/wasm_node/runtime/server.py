"""
The runtime's socket: connections, their frames, and whom they come from.

Knows nothing of attempts: a request is handed on with a way to answer it, now
or later. A peer that is not us, root or the agent's user is not read from; one
that does not read what it asked for is cut off, and asks again. Descriptors
that come with a request wait here until its handler takes them.
"""

import os
import selectors
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from wasm_node.protocol import framing, messages
from wasm_node.runtime import eventloop

_READ_BYTES = 1 << 16
_MOST_UNREAD_BYTES = 32 << 20
_UCRED = struct.Struct("=iii")

Handler = Callable[["Connection", int, messages.Request], None]


class Connection:
    """
    One client.

    Attributes:
        subscribed: it wants facts.
        calls_hooks: it is an agent, and can be waited for to call hooks.
        version: of the protocol, by its hello; 0: it said none yet.
        closed: nothing more comes, or can be sent.
        waits: what to call when it hangs up; None: nothing needs to know.
    """

    def __init__(self, loop: eventloop.EventLoop, sock: socket.socket, handler: Handler) -> None:
        self.subscribed = False
        self.calls_hooks = False
        self.version = 0
        self.closed = False
        self.waits: eventloop.Callback | None = None
        self._received: list[int] = []
        self._loop = loop
        self._sock = sock
        self._handler = handler
        self._decoder = framing.Decoder()
        self._unsent = bytearray()
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message; nothing happens on a closed connection."""
        if self.closed:
            return
        self._unsent += framing.encode(message)
        if len(self._unsent) > _MOST_UNREAD_BYTES:
            self.close()
        else:
            self._flush()

    def take_descriptors(self) -> list[int]:
        """Return those that have come; the caller's from here on."""
        taken, self._received = self._received, []
        return taken

    def close(self) -> None:
        """Hang up."""
        if not self.closed:
            self.closed = True
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            for fd in self.take_descriptors():
                os.close(fd)
            if self.waits is not None:
                self.waits()

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._read()
        if events & selectors.EVENT_WRITE and not self.closed:
            self._flush()

    def _read(self) -> None:
        try:
            data, fds, flags, _ = socket.recv_fds(self._sock, _READ_BYTES, messages.STREAMS)
        except BlockingIOError:
            return
        except ConnectionError:
            data, fds, flags = b"", [], 0
        self._received += fds
        if not data or flags & socket.MSG_CTRUNC or len(self._received) > messages.STREAMS:
            self.close()
            return
        try:
            for raw in self._decoder.feed(data):
                self._take(raw)
        except framing.FramingError:
            self.close()

    def _take(self, raw: Mapping[str, Any]) -> None:
        try:
            seq, request = messages.parse_request(raw)
        except ValueError as error:
            refusal = messages.Refusal(retry=False, reason="BadRequest", message=str(error))
            self.send(messages.refused(_seq(raw), refusal))
            return
        self._handler(self, seq, request)

    def _flush(self) -> None:
        try:
            while self._unsent:
                sent = self._sock.send(memoryview(self._unsent)[:_READ_BYTES])
                del self._unsent[:sent]
        except BlockingIOError:
            pass
        except ConnectionError:
            self.close()
            return
        self._loop.watch(self._sock.fileno(), self._ready, write=bool(self._unsent))


def _seq(raw: Mapping[str, Any]) -> int:
    seq = raw.get("seq")
    return seq if isinstance(seq, int) else -1


class Server:
    """All clients."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        listener: socket.socket,
        allowed: frozenset[int],
        handler: Handler,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._allowed = allowed
        self._handler = handler
        self._connections: set[Connection] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept)

    def tell(self, news: Mapping[str, Any]) -> None:
        """Send a message to all who have subscribed."""
        self._connections = {each for each in self._connections if not each.closed}
        for each in self._connections:
            if each.subscribed:
                each.send(news)

    @property
    def is_heard(self) -> bool:
        """Whether somebody has subscribed who calls hooks, and is there."""
        return any(each.calls_hooks and not each.closed for each in self._connections)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        if _UCRED.unpack(raw)[1] not in self._allowed:
            sock.close()
            return
        self._connections.add(Connection(self._loop, sock, self._handler))
