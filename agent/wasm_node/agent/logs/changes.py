"""
Waking those who follow a log when it grows, without asking again and again.

One inotify descriptor for the whole process (the kernel grants a user 128),
one watch per directory, shared: a container's directory holds its logs only,
so that any change there is worth a look, a rotation too. Where inotify cannot
be had, waits end every second instead. `notify` is for what no file shows:
that an attempt has ended.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

POLL_S = 1.0
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_ONLYDIR = 0x2, 0x80, 0x100, 0x01000000
_MASK = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_ONLYDIR
_OVERFLOWED = -1  # in place of a watch: the kernel dropped some events
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name behind it
_NO_WATCH = -1

_libc = ctypes.CDLL(None, use_errno=True)


class Change:
    """One follower's news of one directory."""

    def __init__(self, *, watched: bool) -> None:
        self._event = asyncio.Event()
        self._watched = watched

    def set(self) -> None:
        """Wake the follower."""
        self._event.set()

    async def wait(self) -> bool:
        """
        Return True once there may be more to read since the last call.

        Returns False after a second without news, for a look at what is not
        in files; where nothing watches, that second counts as news.
        """
        try:
            async with asyncio.timeout(POLL_S):
                await self._event.wait()
        except TimeoutError:
            return not self._watched
        self._event.clear()
        return True


class Changes:
    """
    News of log directories; a context manager, entered on the event loop.

    Used by tasks of that loop only.
    """

    def __init__(self) -> None:
        self._inotify = _NO_WATCH
        self._listeners: dict[Path, set[Change]] = {}
        self._watches: dict[int, Path] = {}

    def __repr__(self) -> str:
        """Show what is watched."""
        followers = sum(map(len, self._listeners.values()))
        return f"<Changes {len(self._watches)} directories, {followers} followers>"

    def __enter__(self) -> Self:
        self._inotify = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._inotify == _NO_WATCH:
            problem = os.strerror(ctypes.get_errno())
            logger.warning("cannot watch logs by inotify: %s; looking every second", problem)
        else:
            asyncio.get_running_loop().add_reader(self._inotify, self._read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._inotify != _NO_WATCH:
            asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = _NO_WATCH

    @contextlib.contextmanager
    def listen(self, log: Path) -> Iterator[Change]:
        """Give news of this log for the length of the context."""
        directory = log.parent
        watch = self._add_watch(directory)
        change = Change(watched=watch != _NO_WATCH)
        self._listeners.setdefault(directory, set()).add(change)
        try:
            yield change
        finally:
            listeners = self._listeners[directory]
            listeners.remove(change)
            if not listeners:
                del self._listeners[directory]
                self._remove_watches(directory)

    def notify(self, log: Path) -> None:
        """Wake all who follow this log: its attempt has ended."""
        self._wake(log.parent)

    def _add_watch(self, directory: Path) -> int:
        """Watch it; the kernel gives the same number for the same directory."""
        if self._inotify == _NO_WATCH:
            return _NO_WATCH
        watch = int(_libc.inotify_add_watch(self._inotify, os.fsencode(directory), _MASK))
        if watch == _NO_WATCH:
            problem = os.strerror(ctypes.get_errno())
            logger.warning("cannot watch %s: %s; looking every second", directory, problem)
        else:
            self._watches[watch] = directory
        return watch

    def _remove_watches(self, directory: Path) -> None:
        """End all: there are two where it was deleted and made again."""
        for watch in [each for each, of in self._watches.items() if of == directory]:
            del self._watches[watch]
            _libc.inotify_rm_watch(self._inotify, watch)  # fails where it is gone: fine

    def _read(self) -> None:
        try:
            events = os.read(self._inotify, 64 * 1024)
        except BlockingIOError:
            return
        at, changed = 0, set()
        while at < len(events):
            watch, _, _, name_bytes = _EVENT.unpack_from(events, at)
            changed.add(watch)
            at += _EVENT.size + name_bytes
        everywhere = _OVERFLOWED in changed
        for directory in list(self._listeners) if everywhere else map(self._watches.get, changed):
            if directory is not None:
                self._wake(directory)

    def _wake(self, directory: Path) -> None:
        for change in self._listeners.get(directory, ()):
            change.set()
