"""
Frames on the runtime's socket: four bytes of length, then one JSON object.

Sans-I/O: bytes in, objects out, so that every split of a frame can be tested.
A stream socket and not SEQPACKET: a large message there fails with EMSGSIZE,
and asyncio refuses it. Whatever is too big to be a frame travels as a file.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_FRAME_BYTES = 1 << 20
_HEADER_BYTES = 4


class FramingError(ValueError):
    """The peer does not speak this protocol; the connection is of no use."""


def encode(message: Mapping[str, Any]) -> bytes:
    """
    Return the frame of one message.

    Raises:
        FramingError: the message is larger than a frame may be.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise FramingError(f"cannot send a frame of {len(body)} bytes: {MAX_FRAME_BYTES} at most")
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


class Decoder:
    """Collects bytes and gives out the messages that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """
        Take more bytes and yield each message that they complete.

        Raises:
            FramingError: a frame is too long, or is not a JSON object.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER_BYTES:
            size = int.from_bytes(self._buffer[:_HEADER_BYTES], "big")
            if size > MAX_FRAME_BYTES:
                raise FramingError(f"cannot read a frame of {size} bytes: not this protocol")
            end = _HEADER_BYTES + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER_BYTES:end])
            del self._buffer[:end]
            yield _decode(body)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise FramingError(f"cannot read a frame: {error}") from error
    if not isinstance(message, dict):
        raise FramingError("cannot read a frame: not a JSON object")
    return message
