"""
What bounds this runtime from outside, and how much of each bound is used.

Our own control group and those above it, as far as they can be seen, and the
host: whichever is nearest to its end is what counts. Memory is what a kubelet
calls the working set: all but the file pages that nobody has touched lately.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

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


class Bounds:
    """The bounds of a process, by the texts of /proc/self/cgroup and mounts."""

    def __init__(self, own: str, mounts: str, proc: Path = Path("/proc")) -> None:
        self._proc = proc
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

    def memory(self) -> Iterator[Bound]:
        """Yield the bounds of memory, in bytes; the host's is always there."""
        yield from _read(self._memory)
        lines = (self._proc / "meminfo").read_text().splitlines()
        host = {name: int(rest.split()[0]) << 10 for name, rest in (x.split(":") for x in lines)}
        yield Bound(host["MemTotal"], host["MemTotal"] - host["MemAvailable"])

    def tasks(self) -> Iterator[Bound]:
        """Yield the bounds of tasks; the host's is always there."""
        yield from _read(self._pids)
        most = min(int((self._proc / "sys" / name).read_text()) for name in _TASKS)
        now = (self._proc / "loadavg").read_text().split()[3].partition("/")[2]
        yield Bound(most, int(now))


def _groups(own: Path | None, names: _Files) -> list[tuple[Path, _Files]]:
    """List a group and those above it that have a limit to be read."""
    if own is None:
        return []
    return [(each, names) for each in (own, *own.parents) if (each / names.limit).exists()]


def _read(groups: list[tuple[Path, _Files]]) -> Iterator[Bound]:
    for directory, names in groups:
        limit = (directory / names.limit).read_text().strip()
        if not limit.isdigit() or int(limit) >= _NO_LIMIT_BYTES:
            continue
        used = int((directory / names.used).read_text())
        if names.unused:
            used -= _figure(directory / "memory.stat", names.unused)
        yield Bound(int(limit), max(0, used))


def _figure(path: Path, name: str) -> int:
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(value) for key, value in lines if key == name), 0)
