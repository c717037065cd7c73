"""Frames: however the bytes arrive, the same messages come out."""

from typing import Any

import pytest

from wasm_node.protocol import framing

MESSAGES: list[dict[str, Any]] = [{"seq": 1, "verb": "hello"}, {}, {"text": "ünïcode \n\0"}]
WIRE = b"".join(framing.encode(each) for each in MESSAGES)


@pytest.mark.parametrize("at", range(len(WIRE) + 1))
def test_cut_anywhere(at: int) -> None:
    """One cut at any byte changes nothing."""
    decoder = framing.Decoder()

    assert [*decoder.feed(WIRE[:at]), *decoder.feed(WIRE[at:])] == MESSAGES


def test_one_byte_at_a_time() -> None:
    """Nor does a cut at every byte."""
    decoder = framing.Decoder()
    seen = [each for at in range(len(WIRE)) for each in decoder.feed(WIRE[at : at + 1])]

    assert seen == MESSAGES


@pytest.mark.parametrize(
    "wire",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1{", b"\0\0\0\0"],
)
def test_other_protocols_are_noticed(wire: bytes) -> None:
    """A length that is too long, no JSON, or no object ends the connection."""
    with pytest.raises(framing.FramingError):
        list(framing.Decoder().feed(wire))


def test_a_message_must_fit() -> None:
    """What no peer would read is not sent."""
    with pytest.raises(framing.FramingError, match="cannot send"):
        framing.encode({"text": "x" * framing.MAX_FRAME_BYTES})
