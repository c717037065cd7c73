"""
The seam to control groups: what the supervisor asks, whatever the host has.

A container gets a group only where it has a limit, since each costs the kernel
time and memory. `choose` finds out what may be made on this host; where nothing
may be, linear memory is still bounded by the engine, and CPU is not.
"""

from typing import Protocol

from wasm_node.protocol import records


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

    def memory_kills(self, each: records.AttemptId) -> int:
        """Return how often the kernel has killed in this attempt's group."""

    def remove(self, each: records.AttemptId) -> None:
        """Remove the group of an attempt that is over; none is fine."""


class NoGroups:
    """A host where no group may be made."""

    def make(
        self,
        each: records.AttemptId,  # noqa: ARG002  # the interface's
        memory_bytes: int | None,  # noqa: ARG002
        cpu_millis: int | None,  # noqa: ARG002
    ) -> list[str]:
        """Make none."""
        return []

    def memory_kills(self, each: records.AttemptId) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def remove(self, each: records.AttemptId) -> None:
        """Do nothing."""
