"""Guest output as CRI lines, however the output is cut."""

import pytest

from wasm_node.runtime import crilog

NOW = 1_795_394_271_123_456_789
STAMP = "2026-11-23T00:37:51.123456789Z"


def _lines(*parts: bytes) -> list[str]:
    stream = crilog.Stream("stdout")
    raw = b"".join(stream.feed(each, NOW) for each in parts) + stream.end(NOW)
    assert raw == b"" or raw.endswith(b"\n")
    return raw.decode().splitlines()


def test_the_form() -> None:
    """A line is time with nine digits, stream, tag and text."""
    assert _lines(b"hello\n") == [f"{STAMP} stdout F hello"]


@pytest.mark.parametrize(
    ("parts", "texts"),
    [
        ([], []),
        ([b"\n"], [""]),
        ([b"a\n\nb\n"], ["a", "", "b"]),
        ([b"a", b"b", b"\n"], ["ab"]),
        ([b"a\nb"], ["a", "b"]),
        ([b"a\r\n"], ["a\r"]),
    ],
)
def test_newlines_decide(parts: list[bytes], texts: list[str]) -> None:
    """Lines end where the guest ended them; the last one at its end."""
    stream = crilog.Stream("stderr")
    raw = b"".join(stream.feed(each, NOW) for each in parts) + stream.end(NOW)

    assert [line.split(b" ", 3)[3].decode() for line in raw.split(b"\n")[:-1]] == texts


@pytest.mark.parametrize("size", [16383, 16384, 16385, 32768, 32769, 100_000])
@pytest.mark.parametrize("step", [1000, 16384, 65536])
def test_long_lines_are_cut(size: int, step: int) -> None:
    """Pieces of 16 KiB are P, the rest is F, and together they are the line."""
    data = bytes(97 + at % 26 for at in range(size)) + b"\n"
    parts = [line.split(" ", 3)[2:] for line in _lines(*_steps(data, step))]

    assert "".join(text for _, text in parts) == data[:-1].decode()
    assert [tag for tag, _ in parts] == ["P"] * (len(parts) - 1) + ["F"]
    assert all(len(text) == crilog.PIECE_BYTES for tag, text in parts if tag == "P")
    assert len(parts) == -(-size // crilog.PIECE_BYTES)


def _steps(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def test_the_end_of_a_log() -> None:
    """The last lines without their heads; pieces of a line are put together."""
    log = b"".join(
        b"2026-11-22T23:20:05.123456789Z stdout %b %b\n" % each
        for each in [(b"F", b"on\re"), (b"P", b"tw"), (b"F", b"o \xff"), (b"F", b"")]
    )

    assert crilog.last(log) == "on\re\ntwo \ufffd\n\n"
    assert crilog.last(b"") == ""


def test_the_end_of_a_long_log() -> None:
    """As many lines and bytes as a kubelet takes."""
    head = b"2026-11-22T23:20:05.123456789Z stderr F "
    lines = b"".join(head + b"line %d\n" % number for number in range(100))

    assert crilog.last(lines).splitlines() == [f"line {number}" for number in range(20, 100)]
    assert crilog.last(head + b"x" * 5000 + b"\n") == "x" * 2047 + "\n"
