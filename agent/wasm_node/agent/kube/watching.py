"""One line of a watch of any kind; a torn one is an error of the world."""

from typing import Any

import msgspec

from wasm_node.agent import errors


class Event(msgspec.Struct, frozen=True):
    """What happened to an object: ADDED, MODIFIED, DELETED, BOOKMARK, ERROR."""

    type: str
    object: dict[str, Any]


_DECODER = msgspec.json.Decoder(Event)


def event(line: bytes) -> Event:
    """
    Read one line.

    Raises:
        Retryable: it was cut.
    """
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise errors.Retryable(f"the watch was cut: {error}", reason="APIError") from error
