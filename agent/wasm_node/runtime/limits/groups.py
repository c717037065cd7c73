"""
The seam to control groups: what the supervisor asks, whatever the host has.

A container gets a group only where it has a limit, since each costs the kernel
time and memory. In a group with a memory limit the engine sets none of its own:
as with any container, memory may be asked for beyond it, and who touches it is
killed by the kernel, which says so. Where no group may be made, linear memory
is bounded by the engine, and CPU is not bounded.
"""

import contextlib
import sys
from pathlib import Path
from typing import Protocol

from wasm_node.protocol import records

ROOM_BYTES = 16 << 20
"""What a worker itself may take beside its guest's memory; it takes 4 MiB."""

PROCESSES = "cgroup.procs"
"""In a group's directory: who writes a pid there moves that process in."""

_LEAST_QUOTA_US = 1000


class Groups(Protocol):
    """Control groups of containers."""

    def make(
        self, each: records.AttemptId, memory_bytes: int | None, cpu_millis: int | None
    ) -> list[str]:
        """
        Make a group with these limits, anew; return the files to join by.

        Raises:
            OSError: the kernel refused.
        """

    def joins(self, each: records.AttemptId) -> list[str]:
        """Return the files to join the attempt's group by, as of `make`."""

    def memory_kills(self, each: records.AttemptId) -> int:
        """Return how often the kernel has killed in this attempt's group."""

    def remove(self, each: records.AttemptId) -> None:
        """Remove the group of an attempt that is over; none is fine."""

    def sweep(self) -> None:
        """
        Remove groups that an earlier supervisor left and nobody is in.

        NB: after the endings that it left are told, as a group's count is
        part of one.
        """


class NoGroups:
    """A host where no group may be made; says so when one would be needed."""

    def __init__(self, why: str) -> None:
        self._why = why
        self._said = False

    def make(
        self, each: records.AttemptId, memory_bytes: int | None, cpu_millis: int | None
    ) -> list[str]:
        """Make none."""
        if not self._said and (memory_bytes is not None or cpu_millis is not None):
            self._said = True
            text = (
                f"cannot limit {each} by a control group ({self._why}): from here on memory "
                "limits bound a guest's linear memory only, and CPU limits have no effect"
            )
            print(text, file=sys.stderr, flush=True)  # noqa: T201  # once
        return []

    def joins(self, each: records.AttemptId) -> list[str]:  # noqa: ARG002  # the interface's
        """Return none."""
        return []

    def memory_kills(self, each: records.AttemptId) -> int:  # noqa: ARG002  # the interface's
        """Return 0."""
        return 0

    def remove(self, each: records.AttemptId) -> None:
        """Do nothing."""

    def sweep(self) -> None:
        """Do nothing."""


def to_join(*directories: Path) -> list[str]:
    """Return the files by which to join those of the groups that exist."""
    return [str(each / PROCESSES) for each in directories if each.is_dir()]


def quota_us(cpu_millis: int, period_us: int) -> int:
    """Return the CPU time in each period; the kernel takes 1 ms or more."""
    return max(_LEAST_QUOTA_US, cpu_millis * period_us // 1000)


def count(path: Path, name: str) -> int:
    """Return a counter from a group's file of `name value` lines, or 0."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


def remove(directory: Path) -> None:
    """Remove a container's group; its pod's, and ours, after the last."""
    for each in (directory, directory.parent, directory.parent.parent):
        with contextlib.suppress(OSError):  # absent, or others are in it
            each.rmdir()


def sweep(root: Path) -> None:
    """Remove groups left by an earlier runtime, and ours; those in use stay."""
    for directory in (*root.glob("*/*/"), root / "any" / "any"):
        remove(directory)
