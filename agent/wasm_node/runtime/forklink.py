"""
The supervisor's end of its socket to the fork server.

Orders go out with descriptors; all that comes back is a hello, once per fork
server, which says what it can do. What becomes of an order is told by the pipe
among its descriptors: an order still in the socket when its fork server dies is
read by the next one, and one that was lost with it closes its pipe by that.
"""

import collections
import dataclasses
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wasm_node.runtime import eventloop

_HELLO_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class About:
    """What the fork server's engine is; `key` is part of every cache key."""

    engine: str
    key: str
    worlds: tuple[str, ...]


class ForkLink:
    """Sends orders as fast as the fork server takes them."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        link: socket.socket,
        greeted: Callable[[], None],
    ) -> None:
        self.about: About | None = None
        self._loop = loop
        self._link = link
        self._greeted = greeted
        self._unsent: collections.deque[tuple[bytes, Sequence[int]]] = collections.deque()
        link.setblocking(False)
        loop.watch(link.fileno(), self._ready)
        self.order("hello", {}, ())

    def order(self, do: str, fields: Mapping[str, Any], fds: Sequence[int]) -> None:
        """Send an order; its descriptors are closed here once it is out."""
        self._unsent.append((json.dumps({"do": do, **fields}).encode(), fds))
        self._send()

    def _ready(self, _events: int) -> None:
        self._send()
        try:
            raw = json.loads(self._link.recv(_HELLO_BYTES))
        except BlockingIOError:
            return
        self.about = About(raw["engine"], raw["key"], tuple(raw["worlds"]))
        self._greeted()

    def _send(self) -> None:
        while self._unsent:
            message, fds = self._unsent[0]
            try:
                socket.send_fds(self._link, [message], fds)
            except BlockingIOError:
                break
            self._unsent.popleft()
            for fd in fds:
                os.close(fd)
        self._loop.watch(self._link.fileno(), self._ready, write=bool(self._unsent))
