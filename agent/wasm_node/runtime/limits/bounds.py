"""
What bounds this runtime from outside, and how much of each bound is used.

Our own control group and those above it, as far as they can be seen, and the
host: whichever is nearest to its end is what counts. Memory is what a kubelet
calls the working set: all but the file pages that nobody has touched lately.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from wasm_node.runtime.limits import hierarchies

_NO_LIMIT_BYTES = 1 << 60  # version 1 writes "none" as a number near 2**63
_TASKS = ("kernel/pid_max", "kernel/threads-max")


@dataclasses.dataclass(frozen=True)
class Bound:
    """One bound: bytes, or tasks."""

    limit: int
    used: int


@dataclasses.dataclass(frozen=True)
class _Files:
    """What a version of control groups calls things."""

    limit: str
    used: str
    unused: str = ""


_MEMORY_1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_MEMORY_2 = _Files("memory.max", "memory.current", "inactive_file")
_PIDS = _Files("pids.max", "pids.current")
_Groups: TypeAlias = list[tuple[Path, _Files]]


class Bounds:
    """The bounds of a process, by the texts of /proc/self/cgroup and mounts."""

    def __init__(self, own: str, mounts: str, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._host_bytes = _figure(proc / "meminfo", "MemTotal:") << 10
        trees = hierarchies.controllers(own, mounts)
        one = hierarchies.unified(own, mounts)
        self._memory = [
            *_groups(trees.get("memory"), _MEMORY_1),
            *_groups(None if "memory" in trees else one, _MEMORY_2),
        ]
        self._pids = [
            *_groups(trees.get("pids"), _PIDS),
            *_groups(None if "pids" in trees else one, _PIDS),
        ]

    @classmethod
    def own(cls) -> "Bounds":
        """Return those of this process."""
        proc = Path("/proc/self")
        return cls((proc / "cgroup").read_text(), (proc / "mountinfo").read_text())

    @property
    def memory_bytes(self) -> int:
        """The least of memory's bounds; what is used costs more to read."""
        return min([self._host_bytes, *(limit for limit, _ in _limits(self._memory))])

    @property
    def most_tasks(self) -> int:
        """The least of the bounds of tasks, likewise."""
        return min([self._host_tasks(), *(limit for limit, _ in _limits(self._pids))])

    def memory(self) -> Iterator[Bound]:
        """Yield the bounds of memory, in bytes; the host's is always there."""
        yield from _used(self._memory)
        left = _figure(self._proc / "meminfo", "MemAvailable:") << 10
        yield Bound(self._host_bytes, self._host_bytes - left)

    def tasks(self) -> Iterator[Bound]:
        """Yield the bounds of tasks; the host's is always there."""
        yield from _used(self._pids)
        now = (self._proc / "loadavg").read_text().split()[3].partition("/")[2]
        yield Bound(self._host_tasks(), int(now))

    def _host_tasks(self) -> int:
        return min(int((self._proc / "sys" / name).read_text()) for name in _TASKS)


def _groups(own: Path | None, names: _Files) -> _Groups:
    """List a group and those above it that have a limit to be read."""
    if own is None:
        return []
    return [(each, names) for each in (own, *own.parents) if (each / names.limit).exists()]


def _limits(groups: _Groups) -> Iterator[tuple[int, tuple[Path, _Files]]]:
    """Yield the limits of groups that have one."""
    for each in groups:
        directory, names = each
        limit = (directory / names.limit).read_text().strip()
        if limit.isdigit() and int(limit) < _NO_LIMIT_BYTES:
            yield int(limit), each


def _used(groups: _Groups) -> Iterator[Bound]:
    for limit, (directory, names) in _limits(groups):
        used = int((directory / names.used).read_text())
        if names.unused:
            used -= _figure(directory / "memory.stat", names.unused)
        yield Bound(limit, max(0, used))


def _figure(path: Path, name: str) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(value) for key, value, *_ in lines if key == name), 0)
