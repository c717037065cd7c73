"""
Version 2 control groups: one tree, given to us by delegation.

Version 2 wants processes in leaves only, so the runtime itself first moves
into one, `wasm-node-self`, and then hands the controllers down to
`wasm-node-HASH/POD/CONTAINER`. `memory.oom.group` stays 0: one container's
kill must not take its neighbours.
"""

import contextlib
from pathlib import Path

from wasm_node.protocol import records
from wasm_node.runtime.limits import groups

_SELF = "wasm-node-self"
_HAND_DOWN = "+memory +cpu"
_PERIOD_US = 100_000


class Cgroup2:
    """Groups in the one tree."""

    def __init__(self, own: Path, name: str) -> None:
        """
        Find out whether groups with limits may be made below `own`.

        Raises:
            OSError: they may not.
        """
        if own.name == _SELF:  # an earlier supervisor has moved us
            own = own.parent
        leaf = own / _SELF
        leaf.mkdir(exist_ok=True)
        for pid in (own / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
        (own / "cgroup.subtree_control").write_text(_HAND_DOWN)
        self._root = own / name
        self._root.mkdir(exist_ok=True)

    def make(
        self, each: records.AttemptId, memory_bytes: int | None, cpu_millis: int | None
    ) -> list[str]:
        """Make the attempt's group; see the interface."""
        self.remove(each)
        if memory_bytes is None and cpu_millis is None:
            return []
        directory = self._directory(each)
        for each_above in (self._root, directory.parent):
            each_above.mkdir(exist_ok=True)
            (each_above / "cgroup.subtree_control").write_text(_HAND_DOWN)
        directory.mkdir()
        if memory_bytes is not None:
            (directory / "memory.max").write_text(str(memory_bytes + groups.ROOM_BYTES))
            with contextlib.suppress(OSError):  # absent without swap accounting
                (directory / "memory.swap.max").write_text("0")
        if cpu_millis is not None:
            quota = groups.quota_us(cpu_millis, _PERIOD_US)
            (directory / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        return self.joins(each)

    def joins(self, each: records.AttemptId) -> list[str]:
        """Return the file to join by; see the interface."""
        return groups.to_join(self._directory(each))

    def memory_kills(self, each: records.AttemptId) -> int:
        """Return the kernel's count; see the interface."""
        return groups.count(self._directory(each) / "memory.events", "oom_kill")

    def remove(self, each: records.AttemptId) -> None:
        """Remove the attempt's group; see the interface."""
        groups.remove(self._directory(each))

    def sweep(self) -> None:
        """Remove what was left; see the interface."""
        groups.sweep(self._root)

    def _directory(self, each: records.AttemptId) -> Path:
        return self._root / each.pod_uid / each.container
