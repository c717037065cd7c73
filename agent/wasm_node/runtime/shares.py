"""
What running attempts use of memory and tasks, each by its workers' own figures.

A worker is a fork: what it has in common with the fork server would not come
back with its end, so as much as that has is not counted, and of what the worker
has copied of it since, a few MiB at most, nothing either. By /proc/PID/status,
which anybody may read and which costs 30 microseconds; the exact figure
(smaps_rollup) costs twenty times that, and a right that a runtime in a pod does
not have.
"""

import os
from pathlib import Path

from wasm_node.protocol import messages
from wasm_node.runtime import attempts, durable

_FORK_SERVER = "wasm-node fork"


class Shares:
    """The shares of all attempts that run."""

    def __init__(self, known: attempts.Attempts) -> None:
        self._known = known
        self._init = os.getppid()
        self._parent = 0

    def page(self, after: str) -> list[messages.Share]:
        """List them in the order of their ids as text, from behind `after`."""
        running = sorted(
            ((str(each.id), each) for each in self._running() if str(each.id) > after),
            key=lambda pair: pair[0],
        )
        common = self._common()
        shares = []
        for _, each in running[: messages.PAGE]:
            figures = _of(each)
            memory = sum(max(0, own - common) for own, _ in figures)
            if figures:
                shares.append(messages.Share(each.id, memory, sum(tasks for _, tasks in figures)))
        return shares

    def total_bytes(self) -> int:
        """Return what all of us use together."""
        common = self._common()
        own = sum(memory for pid in (self._init, os.getpid()) for memory, _ in _figures(pid))
        workers = (memory for each in self._running() for memory, _ in _of(each))
        return own + common + sum(max(0, each - common) for each in workers)

    def _running(self) -> list[attempts.Attempt]:
        unfinished = self._known.unfinished()
        return [each for each in unfinished if each.phase is attempts.Phase.RUNNING]

    def _common(self) -> int:
        if not _is_fork_server(self._parent):
            path = Path(f"/proc/{self._init}/task/{self._init}/children")
            children = map(int, (durable.read(path) or b"").split())
            # NB: the first: what it forks has its name for a moment, too.
            self._parent = next(filter(_is_fork_server, children), 0)
        return next((memory for memory, _ in _figures(self._parent)), 0)


def _is_fork_server(pid: int) -> bool:
    name = durable.read(Path(f"/proc/{pid}/comm"))
    return name is not None and name.decode().startswith(_FORK_SERVER)


def _of(attempt: attempts.Attempt) -> list[tuple[int, int]]:
    """Return the figures of its worker, and of those that run beside it."""
    pids = (attempt.told.pid, *attempt.beside)
    return [found for pid in pids for found in _figures(pid)]


def _figures(pid: int) -> list[tuple[int, int]]:
    """Return bytes of own memory and tasks; nothing of one that has gone."""
    status = durable.read(Path(f"/proc/{pid}/status"))
    lines = (line.split(b":", 1) for line in (status or b"").splitlines())
    told = {name: value.split() for name, value in lines}
    if b"RssAnon" not in told:  # gone, or a zombie
        return []
    return [(int(told[b"RssAnon"][0]) << 10, int(told[b"Threads"][0]))]
