"""
Version 1 control groups: one tree per controller.

`wasm-node-HASH/POD/CONTAINER` below our own group, the hash of the state
directory so that runtimes on one host do not meet. A group is made for one
attempt and removed with it: its count of memory kills is that attempt's.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from wasm_node.protocol import records
from wasm_node.runtime.limits import groups

_PERIOD_US = 100_000


class Cgroup1:
    """Groups in the trees of the memory and cpu controllers."""

    def __init__(self, trees: Mapping[str, Path], name: str) -> None:
        """
        Find out whether groups may be made in these trees.

        Raises:
            OSError: they may not.
        """
        self._memory = trees["memory"] / name
        self._cpu = trees["cpu"] / name
        for root in (self._memory, self._cpu):
            root.mkdir(exist_ok=True)

    def make(
        self, each: records.AttemptId, memory_bytes: int | None, cpu_millis: int | None
    ) -> list[str]:
        """Make the attempt's groups; see the interface."""
        self.remove(each)
        if memory_bytes is not None:
            directory = _directory(self._memory, each)
            directory.mkdir(parents=True)
            limit = memory_bytes + groups.ROOM_BYTES
            (directory / "memory.limit_in_bytes").write_text(str(limit))
            with contextlib.suppress(OSError):  # absent without swap accounting
                (directory / "memory.memsw.limit_in_bytes").write_text(str(limit))
        if cpu_millis is not None:
            directory = _directory(self._cpu, each)
            directory.mkdir(parents=True)
            (directory / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            quota = groups.quota_us(cpu_millis, _PERIOD_US)
            (directory / "cpu.cfs_quota_us").write_text(str(quota))
        return self.joins(each)

    def joins(self, each: records.AttemptId) -> list[str]:
        """Return the files to join by; see the interface."""
        return groups.to_join(*(_directory(root, each) for root in (self._memory, self._cpu)))

    def memory_kills(self, each: records.AttemptId) -> int:
        """Return the kernel's count; see the interface."""
        return groups.count(_directory(self._memory, each) / "memory.oom_control", "oom_kill")

    def remove(self, each: records.AttemptId) -> None:
        """Remove the attempt's groups; see the interface."""
        for root in (self._memory, self._cpu):
            groups.remove(_directory(root, each))

    def sweep(self) -> None:
        """Remove what was left; see the interface."""
        for root in (self._memory, self._cpu):
            groups.sweep(root)


def _directory(root: Path, each: records.AttemptId) -> Path:
    return root / each.pod_uid / each.container
