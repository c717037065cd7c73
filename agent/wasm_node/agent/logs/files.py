"""
One reader's open log file: bounded reads, the tail from behind, rotation.

All of this blocks, so it runs in threads, and a cancelled task cannot take
its thread along. Hence the lock: `close` may be called at any time, from the
event loop, and whoever is last closes the descriptor. A number closed under a
reading thread could by then be another file.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from wasm_node.agent import errors

CHUNK_BYTES = 64 * 1024
_NOT_OPEN = -1


class LogFile:
    """A log file and how far it has been read; opened by `open`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor = _NOT_OPEN
        self._offset = 0
        self._closed = False

    def open(self, tail_lines: int | None = None) -> None:
        """
        Open the file, at its beginning or at this many lines from its end.

        An unfinished last line does not count, and stands after the tail.

        Raises:
            NotFound: there is no such file.
        """
        with self._in_use():
            self._descriptor = self._open()
            if tail_lines is not None:
                self._offset = _tail_offset(self._descriptor, tail_lines)

    def read(self) -> bytes:
        """Read on by at most `CHUNK_BYTES`; less means that it ends there."""
        with self._in_use() as descriptor:
            chunk = os.pread(descriptor, CHUNK_BYTES, self._offset)
            self._offset += len(chunk)
            return chunk

    def replaced(self) -> bool:
        """Say whether another file stands at the path now: it was rotated."""
        with self._in_use() as descriptor:
            try:
                return not os.path.samestat(os.fstat(descriptor), self._path.stat())
            except FileNotFoundError:
                return False

    def reopen(self) -> None:
        """Go on at the beginning of what stands at the path now."""
        with self._in_use() as descriptor:
            self._descriptor = self._open()
            self._offset = 0
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the file; never blocks, and may be called twice."""
        self._closed = True
        self._close_unless_in_use()

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise errors.NotFound(
                f"cannot read log {self._path}: there is no such file (any more)",
                reason="LogNotFound",
            ) from error
        except OSError as error:
            raise errors.Retryable(
                f"cannot read log {self._path}: {error.strerror}", reason="LogUnreadable"
            ) from error

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[int]:
        try:
            with self._lock:
                if self._closed:
                    raise ValueError(f"log file {self._path} is closed")
                yield self._descriptor
        finally:
            if self._closed:
                self._close_unless_in_use()

    def _close_unless_in_use(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                if self._descriptor != _NOT_OPEN:
                    os.close(self._descriptor)
                    self._descriptor = _NOT_OPEN
            finally:
                self._lock.release()


def _tail_offset(descriptor: int, lines: int) -> int:
    """Return where the last `lines` finished lines begin; reads backwards."""
    wanted = lines + 1  # the line end just before them
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - CHUNK_BYTES)
        block = os.pread(descriptor, end - start, start)
        found = block.count(b"\n")
        if found >= wanted:
            at = len(block)
            for _ in range(wanted):
                at = block.rindex(b"\n", 0, at)
            return start + at + 1
        wanted -= found
        end = start
    return 0
