"""
The process that every process of a test bed descends from.

A test run that is killed cannot clean up, and part of what it starts (the
workers of a node) is built to outlive its parent. So nothing is started by
the run itself: this program starts it, as a subreaper, so that whatever loses
its parent becomes a child of this one. It watches the run through a pidfd,
and when the run is gone, or closes its end of the line, it ends them all and
leaves last. Requests and replies are JSON lines on the socket that is standard
input; a reply brings a pidfd of what was started. `processes.Guard` asks.

Run by its path in isolated mode: stdlib only, and no import of its package.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_END_WITHIN_S = 30.0
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Guardian:
    """What was started, and until when it may live."""

    def __init__(self) -> None:
        self.graces: dict[int, float] = {}
        self.detached = False

    def detach(self) -> None:
        """Live on without the owner, and without its terminal."""
        self.detached = True
        with Path(os.devnull).open("wb") as nothing:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nothing.fileno(), stream.fileno())

    def spawn(self, request: dict[str, Any]) -> int:
        """
        Start a program as `processes.Guard.spawn` describes; return its pid.

        Raises:
            OSError: it cannot be started.
        """
        guardian = os.getpid()

        def tie() -> None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guardian:
                os._exit(1)

        with Path(request["log"]).open("ab") as log:
            process = subprocess.Popen(
                request["argv"],
                cwd=request["cwd"],
                env=request["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=tie,  # safe, as this program has one thread
            )
        process.returncode = 0  # reap() collects it, together with the orphans
        self.graces[process.pid] = request["grace_s"]
        return process.pid

    def reap(self) -> bool:
        """Collect what has ended; true if no descendant is left at all."""
        try:
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self.graces.pop(pid, None)
        except ChildProcessError:
            return True
        return False

    def end(self) -> int:
        """End all descendants, the politely stopped ones newest first."""
        for pid, grace_s in reversed(list(self.graces.items())):
            if grace_s > 0:
                self._ask_to_end(pid, grace_s)
        deadline = time.monotonic() + _END_WITHIN_S
        while not self.reap():
            survivors = descendants(os.getpid())
            if time.monotonic() > deadline:
                print(f"cannot end the test bed: {survivors} survive SIGKILL", file=sys.stderr)
                return 1
            for pid in survivors:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        return 0

    def _ask_to_end(self, pid: int, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        self.reap()
        if pid in self.graces:  # not reaped yet, so the number is still its own
            os.kill(pid, signal.SIGTERM)
        while pid in self.graces and time.monotonic() < deadline:
            time.sleep(0.01)
            self.reap()


def descendants(root: int) -> list[int]:
    """List every process below `root`, parents before their children."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found[1:]


def start_ticks(pid: int) -> int:
    """Return when a process began: what tells it from others of its number."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


class Inputs:
    """Where it hears from: the owner's line and life, and signals."""

    def __init__(self, line: socket.socket, owner: int) -> None:
        self._line = line
        self._signals, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the wakeup pipe tells
        self._selector = selectors.DefaultSelector()
        for source in (line.fileno(), self._signals, os.pidfd_open(owner)):
            self._selector.register(source, selectors.EVENT_READ)
        self._pending = b""

    def serve(self, guardian: Guardian) -> None:
        """Answer requests; return when it is time to end everything."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._signals:
                    if signal.SIGTERM in os.read(key.fd, 4096):
                        return
                    guardian.reap()
                elif key.fd != self._line.fileno() or not self._answer_all(guardian):
                    if not guardian.detached:
                        return
                    self._selector.unregister(key.fd)

    def _answer_all(self, guardian: Guardian) -> bool:
        """Answer the requests that have arrived; false at the line's end."""
        data = self._line.recv(1 << 16)
        *requests, self._pending = (self._pending + data).split(b"\n")
        for request in requests:
            self._answer(guardian, json.loads(request))
        return bool(data)

    def _answer(self, guardian: Guardian, request: dict[str, Any]) -> None:
        if "detach" in request:
            guardian.detach()
            self._line.sendall(b"{}\n")
            return
        try:
            pid = guardian.spawn(request)
        except OSError as error:
            self._line.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
            return
        pidfd = os.pidfd_open(pid)  # not reaped yet, so it is there even if it ended
        socket.send_fds(self._line, [json.dumps({"pid": pid}).encode() + b"\n"], [pidfd])
        os.close(pidfd)


def main(owner: int) -> int:
    """Serve the owner, then end all that it has started."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        inputs = Inputs(socket.socket(fileno=sys.stdin.fileno()), owner)
    except ProcessLookupError:  # the owner is gone already
        return 0
    guardian = Guardian()
    inputs.serve(guardian)
    return guardian.end()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
