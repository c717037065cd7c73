"""
The state directory: paths, the lock, atomic writes.

Everything that must outlive this process lies below one directory, so that an
agent killed at any moment finds all of it again. The layout is the table in
docs/architecture.md; the runtime reads the same paths.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from wasm_node.agent import errors

_SOCKET_BYTES = 107


class StateDir:
    """Paths below one state directory and one run directory."""

    def __init__(self, state: Path, run: Path, logs: Path) -> None:
        self.state = state
        self.run = run
        self.logs = logs
        self.images = state / "images"
        self.pods = state / "pods"
        self.socket = run / "runtime.sock"

    def make(self) -> None:
        """
        Make the directories that the agent owns.

        Raises:
            BadInput: the socket's path would be too long for the kernel.
        """
        if len(bytes(self.socket)) > _SOCKET_BYTES:
            raise errors.BadInput(
                f"cannot use {self.run}: its socket's path has more than {_SOCKET_BYTES} bytes; "
                "choose a shorter runDir (for `wasm-node run`: a shorter TMPDIR)",
                reason="PathTooLong",
            )
        for each in (self.state, self.run, self.logs, self.images, self.pods):
            each.mkdir(parents=True, exist_ok=True)

    def pod(self, uid: str) -> Path:
        """Return the directory of one pod."""
        return self.pods / uid

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """
        Hold the directory: one agent at a time.

        Raises:
            GaveUp: another process holds it.
        """
        with (self.state / "agent.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise errors.GaveUp(
                    f"cannot use {self.state}: another wasm-node agent is running on it",
                    reason="StateDirInUse",
                ) from error
            yield

    def remove_pod(self, uid: str) -> None:
        """Delete a pod's directory; gone already is fine."""
        shutil.rmtree(self.pod(uid), ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a small file by rename: readers see all of it or the old one."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_bytes(content)
    made.replace(path)
