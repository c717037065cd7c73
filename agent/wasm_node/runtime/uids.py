"""
A user of its own for every pod, out of a range.

One shared user would let tenants trace, signal and read each other; a number
that a manifest names could belong to two of them. The number is on disk before
it is used, and free again once the pod is forgotten. Without root there is
none to give: all workers are then who we are.
"""

import contextlib
import os
from pathlib import Path

from wasm_node.protocol import layout, settings
from wasm_node.runtime import durable


def give_to_agent(what: Path | int, wanted: settings.RuntimeSettings) -> None:
    """Make the agent's user, if it is another, the owner of a path or file."""
    if wanted.agent_uid is not None and os.geteuid() == 0:
        os.chown(what, wanted.agent_uid, wanted.agent_uid)


class Uids:
    """Who each pod's workers are."""

    def __init__(self, state: Path, first: int) -> None:
        self._state = state
        self._first = first
        self._next = first + 1
        self._of: dict[str, int] = {}
        for path in layout.pods(state).glob(f"*/{layout.UID}"):
            with contextlib.suppress(ValueError):  # a power cut may have left it empty
                self._of[path.parent.name] = int(path.read_bytes())

    def compiler(self) -> int | None:
        """Return who compiles."""
        return self._first if os.geteuid() == 0 else None

    def of(self, pod: str) -> int | None:
        """Return the pod's number, given to it now if it has none."""
        if os.geteuid() != 0:
            return None
        if pod not in self._of:
            taken = set(self._of.values())
            while self._next in taken:
                self._next += 1
            durable.write(layout.pod(self._state, pod) / layout.UID, b"%d" % self._next)
            self._of[pod] = self._next
            self._next += 1
        return self._of[pod]

    def free(self, pod: str) -> None:
        """Take the number back."""
        self._of.pop(pod, None)
        (layout.pod(self._state, pod) / layout.UID).unlink(missing_ok=True)
