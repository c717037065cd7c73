"""
One conversation with the runtime over its socket.

Each request of the agent has a connection of its own, closed after the reply:
they are cheap on a unix socket, nothing needs a task to read in the background,
and a runtime that restarts costs exactly the requests that were under way.
"""

import asyncio
import collections
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from wasm_node.agent import errors
from wasm_node.protocol import framing, messages

_READ_BYTES = 1 << 16
_HELLO_S = 30.0


class Connection:
    """
    A connection on which both sides have said hello.

    Attributes:
        room: what the runtime may use.
    """

    room: messages.Room
    life: str

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = framing.Decoder()
        self._unread: collections.deque[dict[str, Any]] = collections.deque()
        self._news: collections.deque[messages.Fact | None] = collections.deque()
        self._seq = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator[Self]:
        """
        Connect for the length of the context.

        Raises:
            Retryable: nobody answers there; also when it goes away later.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise _away(f"nothing answers on {path} ({error.strerror or error})") from error
        try:
            made = cls(reader, writer)
            async with asyncio.timeout(_HELLO_S):
                hello = await made.ask(messages.Hello(messages.VERSION))
            made.room = messages.Room.from_message(hello["room"])
            made.life = str(hello.get("life", ""))
            yield made
        except (OSError, framing.FramingError) as error:  # TimeoutError is one
            raise _away(str(error) or "it does not answer") from error
        finally:
            writer.close()

    async def ask(
        self, wanted: messages.Request, descriptors: Sequence[int] = ()
    ) -> messages.Result:
        """
        Send one request, with copies of descriptors, and return the reply.

        Raises:
            NotFound: it is about an attempt that does not run.
            BadInput: the runtime refused it for good.
            Retryable: the runtime refused it for now, or went away.
        """
        self._seq += 1
        frame = framing.encode(messages.request(self._seq, wanted))
        if descriptors:
            frame = self._pass(frame, descriptors)
        self._writer.write(frame)
        await self._writer.drain()
        while True:
            message = await self._read()
            if message.get("re") == self._seq:
                return _result(message)
            self._take_news(message)

    def _pass(self, frame: bytes, descriptors: Sequence[int]) -> bytes:
        # With the hello answered nothing waits to be sent, so there is room.
        with self._writer.get_extra_info("socket").dup() as sock:
            return frame[socket.send_fds(sock, [frame], descriptors) :]

    async def next_news(self) -> messages.Fact | None:
        """
        Return the next fact, or None: the runtime ends; after Subscribe.

        Raises:
            Retryable: the runtime went away.
        """
        while not self._news:
            self._take_news(await self._read())
        return self._news.popleft()

    def _take_news(self, message: Mapping[str, Any]) -> None:
        if "fact" in message:
            self._news.append(messages.Fact.from_message(message["fact"]))
        elif message == messages.ENDING:
            self._news.append(None)

    async def _read(self) -> dict[str, Any]:
        while not self._unread:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise _away("it closed the connection")
            self._unread.extend(self._decoder.feed(data))
        return self._unread.popleft()


def _result(message: Mapping[str, Any]) -> messages.Result:
    if "error" not in message:
        result: messages.Result = message["ok"]
        return result
    refusal = messages.Refusal(**message["error"])
    if refusal.reason == messages.NOT_RUNNING:
        raise errors.NotFound(refusal.message, reason=refusal.reason)
    kind = errors.Retryable if refusal.retry else errors.BadInput
    raise kind(refusal.message, reason=refusal.reason)


def _away(why: str) -> errors.Retryable:
    return errors.Retryable(f"cannot reach the runtime: {why}", reason="RuntimeUnavailable")
