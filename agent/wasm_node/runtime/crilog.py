"""
Guest output as lines of a CRI log: `TIME stdout F text`.

Pure: bytes and a time in, bytes out. A line longer than 16 KiB is cut into
pieces tagged P (partial), the last one F, as container runtimes do; kubelet's
and every collector's parsers put them together again. What has no newline when
the guest ends is a line of its own.
"""

import re
import time

PIECE_BYTES = 16384
LAST_LINES = 80
LAST_BYTES = 2048
"""What of a log may become a message: MaxContainerTerminationMessageLog...
of the kubelet (container/runtime.go)."""


class Stream:
    """One of a guest's two outputs."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._rest = b""

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """Take output and return the log lines that it completes."""
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        pieces: list[bytes] = []
        full = stamp(now_ns) + b" " + self._name + b" F "
        partial = stamp(now_ns) + b" " + self._name + b" P "
        for line in lines:
            pieces += _cut(line, partial)
            pieces.append(full + line[_cut_off(line) :] + b"\n")
        pieces += _cut(self._rest, partial)
        self._rest = self._rest[_cut_off(self._rest) :]
        return b"".join(pieces)

    def end(self, now_ns: int) -> bytes:
        """Return the line that was never ended, if there is one."""
        return self.feed(b"\n", now_ns) if self._rest else b""


def _cut_off(line: bytes) -> int:
    return max(0, len(line) - 1) // PIECE_BYTES * PIECE_BYTES


def _cut(line: bytes, head: bytes) -> list[bytes]:
    starts = range(0, _cut_off(line), PIECE_BYTES)
    return [head + line[at : at + PIECE_BYTES] + b"\n" for at in starts]


def last(log: bytes) -> str:
    """Return the end of what a guest wrote, out of the end of its log."""
    written = []
    for line in re.findall(rb"[^\n]*\n|[^\n]+", log)[-LAST_LINES:]:
        _, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        written.append(text.removesuffix(b"\n") if tag == b"P" else text)
    return b"".join(written)[-LAST_BYTES:].decode(errors="replace")


def stamp(now_ns: int) -> bytes:
    """Return a unix time in nanoseconds as RFC 3339 with nine digits."""
    seconds, rest = divmod(now_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % rest
