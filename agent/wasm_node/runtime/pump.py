"""
From a guest's stdout and stderr to its log file.

The guest writes into two pipes that stand in place of the worker's own; the
main thread reads them and appends whole CRI lines, many with one write. A pipe
holds 64 KiB at most, so reading that much from each after the guest has ended,
or was told to, leaves nothing behind and never waits for a guest that goes on
writing. A log that cannot be written (a full disk) loses lines, not the guest.
"""

import contextlib
import os
import select
import time
from collections.abc import Callable

from wasm_node.runtime import crilog

_PIPE_BYTES = 1 << 16


class Pump:
    """Owns the pipes of one guest and the descriptor of its log."""

    def __init__(self, log: int, wake: int) -> None:
        self._log = log
        self._wake = wake
        self._streams: dict[int, crilog.Stream] = {}
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        for number, name in ((1, "stdout"), (2, "stderr")):
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            os.dup2(write_end, number)
            os.close(write_end)
            self._streams[read_end] = crilog.Stream(name)

    def fds(self) -> set[int]:
        """Return the descriptors that must stay open."""
        return {self._log, self._wake, *self._streams}

    def run(self, *, until: Callable[[int], bool]) -> None:
        """Copy until a byte comes out of `wake` that `until` says yes to."""
        poll = select.poll()
        for fd in (self._wake, *self._streams):
            poll.register(fd, select.POLLIN)
        over = False
        while not over:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                over = any(until(byte) for byte in os.read(self._wake, 64))
            for fd in self._streams.keys() & ready:
                self._copy(fd)
        for fd, stream in self._streams.items():
            self._copy(fd)
            self._write(stream.end(time.time_ns()))

    def say(self, text: str) -> None:
        """Add lines of our own to the guest's stderr."""
        errors = list(self._streams.values())[1]
        for line in text.splitlines():
            self._write(errors.feed(line.encode() + b"\n", time.time_ns()))

    def _copy(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._write(self._streams[fd].feed(os.read(fd, _PIPE_BYTES), time.time_ns()))

    def _write(self, lines: bytes) -> None:
        with contextlib.suppress(OSError):
            while lines:
                lines = lines[os.write(self._log, lines) :]
