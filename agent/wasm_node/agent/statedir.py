"""
The state directory: paths, the lock, atomic writes.

Everything that must outlive this process lies below one directory, so that an
agent killed at any moment finds all of it again. The layout is the table in
docs/architecture.md; the runtime reads the same paths.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO

from wasm_node.agent import errors
from wasm_node.protocol import layout

_LOCK_LOOK_S = 0.1


class Lock:
    """The hold of one agent on a state directory, until it is released."""

    def __init__(self, file: IO[str], queue: Path) -> None:
        self._file = file
        self._queue = queue

    def heir(self) -> str:
        """Return the address of who stands by; empty: nobody does. Blocks."""
        with contextlib.suppress(FileNotFoundError), self._queue.open() as queue:
            if not _try_lock(queue):
                return queue.read()
        return ""

    def release(self) -> None:
        """Let another agent have the directory; this one only reads it now."""
        fcntl.flock(self._file, fcntl.LOCK_UN)


class StateDir:
    """Paths below one state directory and one run directory."""

    def __init__(self, state: Path, run: Path, logs: Path) -> None:
        self.state = state
        self.run = run
        self.logs = logs
        self.images = state / "images"
        self.pods = state / "pods"
        self.pki = state / "pki"
        self.credentials = run / "credentials"
        self.socket = run / layout.SOCKET

    def make(self) -> None:
        """
        Make the directories that the agent owns.

        Raises:
            BadInput: a socket's path would be too long for the kernel.
            Retryable: the runtime, which gives them to the agent's user, has
                not done so yet.
        """
        try:
            layout.check_run(self.run)
        except ValueError as error:
            raise errors.BadInput(str(error), reason="PathTooLong") from error
        for each in (self.state, self.run, self.logs, self.images, self.pods):
            with _ours(each):
                each.mkdir(parents=True, exist_ok=True)
                if not os.access(each, os.W_OK, effective_ids=True):
                    raise PermissionError
        with _ours(self.pki):
            self.pki.mkdir(mode=0o700, exist_ok=True)

    def pod(self, uid: str) -> Path:
        """Return the directory of one pod."""
        return self.pods / uid

    @contextlib.asynccontextmanager
    async def locked(
        self, stand_by: Callable[[], None], *, address: str = ""
    ) -> AsyncIterator[Lock]:
        """
        Hold the directory: one agent at a time.

        While another process holds it, wait in line; whoever is next calls
        `stand_by`, and the holder can see its `address`. Secrets that a killed
        holder left in the run directory are removed.
        """
        queue = self.state / "agent.next"
        with (self.state / "agent.lock").open("a") as file:
            if not _try_lock(file):
                with queue.open("a") as place:
                    await _lock(place)
                    await asyncio.to_thread(queue.write_text, address)
                    stand_by()
                    await _lock(file)
                    await asyncio.to_thread(queue.write_text, "")
            await asyncio.to_thread(shutil.rmtree, self.credentials, ignore_errors=True)
            yield Lock(file, queue)

    def holder(self) -> str:
        """Return what this state directory is known by; made once, blocks."""
        path = self.state / "identity"
        if not path.exists():
            write(path, f"{uuid.uuid4()}\n".encode())
        return path.read_text().strip()

    def remove_pod(self, uid: str) -> None:
        """Delete a pod's directory; gone already is fine."""
        shutil.rmtree(self.pod(uid), ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a small file by rename: readers see all of it or the old one."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.write_bytes(content)
    made.replace(path)


def write_secret(path: Path, content: bytes) -> None:
    """Write by rename what only we may read, and must outlive a power cut."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    made.touch(mode=0o600, exist_ok=False)
    with made.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def _lock(file: IO[str]) -> None:
    while not _try_lock(file):  # noqa: ASYNC110  # of another process
        await asyncio.sleep(_LOCK_LOOK_S)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _ours(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise errors.Retryable(
            f"cannot write to {path} as uid {os.getuid()}: the runtime gives it to the agent's"
            " user when it starts with --agent-uid",
            reason="StateDirNotOurs",
        ) from error
