"""
CRI log lines in, what `kubectl logs` shows out.

Pure: bytes are fed in pieces of any size, as they were read or as they arrive,
and it never holds more than one line. The rules are the kubelet's (`ReadLogs`
of k8s.io/cri-client): a `P` record is a piece of a line, and counts as a line
for the tail; a time stands only where a line begins; bytes are counted with
times; a line that is no CRI record is left out. On purpose otherwise: with
one stream selected, only that stream's records say where a line begins.
"""

import datetime as dt
import re

from wasm_node.agent.model import log_options

MAX_RECORD_BYTES = 1 << 20
"""A longer line is no CRI record (writers cut at 16 KiB), and is left out."""

_RECORD = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z (stdout|stderr) ([^ :\n]+)[^ \n]* "
)
_STREAMS = {
    log_options.Stream.ALL: (b"stdout", b"stderr"),
    log_options.Stream.STDOUT: (b"stdout",),
    log_options.Stream.STDERR: (b"stderr",),
}


class Renderer:
    """
    Turns one log into output.

    `done` is True once no further input can change what was shown.
    """

    def __init__(self, options: log_options.LogOptions) -> None:
        self._timestamps = options.timestamps
        self._streams = _STREAMS[options.stream]
        self._since = stamp(options.since_ns) if options.since_ns is not None else b""
        self._bytes_left = options.limit_bytes
        self._records_left = None if options.follow else options.tail_lines
        self._line_begins = True
        self._rest = b""
        self._discarding = False
        self.done = self._records_left == 0

    def feed(self, chunk: bytes) -> bytes:
        """Return what the whole records up to the end of this chunk show."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        if self._discarding and lines:
            del lines[0]
            self._discarding = False
        if len(rest) > MAX_RECORD_BYTES:
            self._discarding = True
        self._rest = b"" if self._discarding else rest
        return self._show_all(lines, b"\n")

    def finish(self) -> bytes:
        """Return what the unfinished last record shows: nothing follows it."""
        last, self._rest = self._rest, b""
        return self._show_all([last] if last else [], b"")

    def _show_all(self, lines: list[bytes], line_end: bytes) -> bytes:
        shown = []
        for line in lines:
            if self.done:
                break
            record = _RECORD.match(line)
            if record is not None:
                shown.append(self._show(record, line_end))
        return b"".join(shown)

    def _show(self, record: re.Match[bytes], line_end: bytes) -> bytes:
        seconds, fraction, stream, tag = record.groups()
        if self._records_left is not None:
            self._records_left -= 1
            self.done = self._records_left == 0
        if stream not in self._streams:
            return b""
        time = b"%b.%bZ" % (seconds, (fraction or b"").ljust(9, b"0"))
        text = record.string[record.end() :]
        if tag != b"P":
            text += line_end
        begins, self._line_begins = self._line_begins, not text or text.endswith(b"\n")
        if time < self._since:
            return b""
        if self._timestamps and begins:
            text = time + b" " + text
        return self._cut(text)

    def _cut(self, text: bytes) -> bytes:
        if self._bytes_left is None:
            return text
        text = text[: self._bytes_left]
        self._bytes_left -= len(text)
        self.done = self.done or self._bytes_left == 0
        return text


def stamp(moment_ns: int) -> bytes:
    """Return unix nanoseconds as CRI writes times; they sort as bytes."""
    seconds, nanoseconds = divmod(max(moment_ns, 0), 10**9)
    made = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return made.strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09dZ" % nanoseconds
