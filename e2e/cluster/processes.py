"""
Start and stop the test bed's processes so that none can be left behind.

A `Guard` is the owner's end of one `guardian`: everything is started through
it, so the end of the owner, however it comes, is the end of everything. What
the owner needs of one process is a `Process`, held by pidfd: a signal can
never reach a stranger that was given the same number.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from e2e.cluster import guardian, ports

T = TypeVar("T")


class Failed(RuntimeError):
    """A part of the test bed did not do what it had to; the text says why."""


@dataclass(frozen=True)
class Process:
    """One process of the test bed, alive or not; `log` holds its output."""

    name: str
    pid: int
    log: Path
    pidfd: int

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not _readable_within(self.pidfd, 0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; no error if the process has ended already."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def kill(self, within_s: float = 10) -> None:
        """
        End it with SIGKILL and return when it is gone.

        Raises:
            Failed: it still runs after `within_s` seconds.
        """
        self.send(signal.SIGKILL)
        self.wait(within_s)

    def terminate(self, within_s: float = 10) -> None:
        """
        Ask it to end with SIGTERM and return when it is gone.

        Raises:
            Failed: it still runs after `within_s` seconds.
        """
        self.send(signal.SIGTERM)
        self.wait(within_s)

    def wait(self, within_s: float) -> None:
        """
        Return when it has ended, by itself or by a signal.

        Raises:
            Failed: it still runs after `within_s` seconds.
        """
        if not _readable_within(self.pidfd, within_s):
            raise Failed(f"cannot end {self.name}: pid {self.pid} still runs after {within_s} s")

    def tail(self, lines: int = 15) -> str:
        """Give the last lines of its log, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Workplace(Protocol):
    """Where workers run: a wasm node, or a host."""

    def processes(self, name: str) -> set[int]:
        """Return the pids of those whose name begins so."""


class Guard:
    """
    The life of a test bed: what it starts ends with it.

    Leaving the `with` block, or the end of this process by any signal, ends
    all processes started here and all that they have started.
    """

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self._guardian = process
        self._line = line
        self._resources = contextlib.ExitStack()

    @classmethod
    def start(cls) -> Self:
        """Start a guardian that lives as long as this process at most."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", guardian.__file__, str(os.getpid())],
                stdin=theirs.fileno(),
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is the owner's
            )
        return cls(process, ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def spawn(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        *,
        directory: Path,
        env: Mapping[str, str] | None = None,
        grace_s: float = 0,
    ) -> Process:
        """
        Start a program in `directory`, its output appended to `NAME.log` there.

        Args:
            name: what messages call it.
            argv: the program, found by PATH if it has no slash, and its words.
            directory: its working directory.
            env: its whole environment; by default this process's.
            grace_s: how long it may take to end on SIGTERM when the guard
                ends; 0 is for what holds nothing but memory: SIGKILL at once.

        Raises:
            Failed: the program cannot be started.
        """
        log = directory / f"{name}.log"
        reply, fds = self._ask(
            argv=[os.fspath(word) for word in argv],
            cwd=str(directory),
            env=dict(os.environ if env is None else env),
            log=str(log),
            grace_s=grace_s,
        )
        self._resources.callback(os.close, fds[0])
        return Process(name, reply["pid"], log, pidfd=fds[0])

    def claim_port(self) -> int:
        """Give a free TCP port of loopback, kept from others until close."""
        return self.hold(ports.claim())

    def hold(self, resource: contextlib.AbstractContextManager[T]) -> T:
        """Enter a context that is left when the guard ends."""
        return self._resources.enter_context(resource)

    @property
    def pid(self) -> int:
        """The guardian's pid: SIGTERM to it ends everything."""
        return self._guardian.pid

    def detach(self) -> None:
        """Let everything outlive this guard, and nothing more start by it."""
        self._ask(detach=True)
        self._guardian.returncode = 0  # no longer ours to wait for

    def close(self) -> None:
        """
        End everything and wait for it; only let go of it if detached.

        Raises:
            Failed: something survived.
        """
        with self._line:
            self._line.shutdown(socket.SHUT_WR)  # heard even if a fork has a copy
            status = self._guardian.wait()
        self._resources.close()
        if status != 0:
            raise Failed("cannot end the test bed: see the message of its guardian")

    def _ask(self, **request: Any) -> tuple[dict[str, Any], list[int]]:
        try:
            self._line.sendall(json.dumps(request).encode() + b"\n")
            data, fds, _, _ = socket.recv_fds(self._line, 1 << 16, 1, socket.MSG_CMSG_CLOEXEC)
            reply = json.loads(data)
        except (OSError, json.JSONDecodeError) as error:
            raise Failed("cannot start anything: the guardian has ended") from error
        if "error" in reply:
            raise Failed(f"cannot start {request['argv'][0]}: {reply['error']}")
        return reply, fds


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    *,
    within_s: float,
    alive: Iterable[Process] = (),
) -> T:
    """
    Wait for a condition and return its first true value.

    Args:
        condition: asked again and again; false values mean "not yet".
        what: ends the sentence "cannot see ..." of the error.
        within_s: the deadline in seconds.
        alive: processes that have to run, or waiting is in vain.

    Raises:
        Failed: the deadline passed, or one of `alive` ended.
    """
    deadline = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        for process in alive:
            if not process.running:
                raise Failed(f"cannot see {what}: {process.name} ended\n{process.tail()}")
        if time.monotonic() > deadline:
            tails = "".join(f"\n{each.name}:\n{each.tail()}" for each in alive)
            raise Failed(f"cannot see {what} within {within_s} s{tails}")
        time.sleep(0.03)  # between two looks; nothing depends on its length


def workers(count: int, *those: Workplace) -> set[int]:
    """
    Return the pids of all workers of nodes or hosts, once they are so many.

    More than a test has made are of pods of the one before, which end still.

    Raises:
        Failed: there never are.
    """

    def found() -> set[int] | None:
        pids = {pid for each in those for pid in each.processes("wasm:")}
        return pids if len(pids) == count else None

    return wait_until(found, f"{count} workers", within_s=20)


def named(root: int, name: str) -> set[int]:
    """
    Return the pids below a process whose name begins so.

    The kernel keeps 15 bytes of a name.
    """
    return {pid for pid in guardian.descendants(root) if _name_of(pid).startswith(name[:15])}


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:  # gone meanwhile
        return ""


def _readable_within(fd: int, within_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def printed_by(
    command: Sequence[str | Path], environment: Mapping[str, str], *, stdin: str = ""
) -> str:
    """
    Run a command, with these variables beside ours; return what it prints.

    Raises:
        CalledProcessError: it failed; its message is in the note.
    """
    try:
        return subprocess.run(
            command,
            env={**os.environ, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
