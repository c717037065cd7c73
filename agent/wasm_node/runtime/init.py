"""
The runtime's root: a process so simple that nothing can kill it from within.

It starts the supervisor and the fork server, starts either again when it dies,
and reaps everything: workers are its children, so that `kill -9` of the other
two costs no container. Each reaped (pid, status) goes to the supervisor on a
socket of which init holds both ends; that is the one way to learn of endings,
and the supervisor takes a record off only after it has acted on it, so that
its own death loses none. Everything else here dies with init, by the kernel.
"""

import collections
import dataclasses
import fcntl
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from wasm_node.protocol import layout, settings
from wasm_node.runtime import endings, supervisor, uids
from wasm_node.runtime.lockdown import process

_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_RETRY_S = 0.05
_LONGEST_BACKOFF_S = 5.0
_STABLE_S = 10.0
_LOCK_S = 2.0


@dataclasses.dataclass
class _Service:
    name: str
    main: Callable[[bool], None]
    pid: int = 0
    starts: int = 0
    failures: int = 0
    born: float = 0.0
    due: float = 0.0


def run(wanted: settings.RuntimeSettings) -> int:
    """Be the runtime until told to end; return the exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    if wanted.owner is not None:
        process.die_with_parent(wanted.owner, signal.SIGTERM)  # as a word to end, not a kill
    os.umask(0o027)
    try:
        layout.check_run(wanted.run)
    except ValueError as error:
        return _refuse(str(error))
    for directory in (wanted.state, wanted.run, wanted.logs):
        directory.mkdir(parents=True, exist_ok=True)
        uids.give_to_agent(directory, wanted)
    with (wanted.state / "runtime.lock").open("w") as lock:
        if not _locked(lock.fileno()):
            return _refuse(f"another one owns {wanted.state}")
        process.adopt_orphans()
        process.set_name("wasm-node init")
        process.allow_many_files()
        code = _Init(wanted, _listen(wanted)).run()
        (wanted.run / layout.SOCKET).unlink(missing_ok=True)
    if wanted.scratch is not None:
        _remove(wanted.scratch)
    return code


def _refuse(why: str) -> int:
    text = f"cannot start the runtime: {why}"
    print(text, file=sys.stderr)  # noqa: T201  # a person's mistake, on their terminal
    return 1


def _remove(directory: Path) -> None:
    import shutil  # NB: not before the forks, as each would carry it

    shutil.rmtree(directory, ignore_errors=True)


def _locked(lock: int) -> bool:
    # The services of an init that was just killed hold it until they are dead.
    patience = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > patience:
                return False
            time.sleep(_RETRY_S)
        else:
            return True


def _listen(wanted: settings.RuntimeSettings) -> socket.socket:
    path = wanted.run / layout.SOCKET
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    listener.bind(str(path))
    os.umask(mask)
    uids.give_to_agent(path, wanted)
    listener.listen(128)
    return listener


def _serve_forks(link: socket.socket, bell: socket.socket, init: int, engine: str | None) -> None:
    # NB: these load an engine, which is for the fork server's process only
    if engine != settings.WASMTIME_PY:
        try:
            from wasm_node.runtime.engines import native
        except ImportError:
            if engine is not None:
                raise
        else:
            native.serve(link, bell, init)
    from wasm_node.runtime import forkserver

    forkserver.run(link, init)


class _Init:
    def __init__(self, wanted: settings.RuntimeSettings, listener: socket.socket) -> None:
        self._send_end, self._read_end = socket.socketpair()
        self._send_end.setblocking(False)
        links = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        bell = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        bell[1].shutdown(socket.SHUT_RD)
        turns = os.memfd_create("turns")
        me = os.getpid()
        life = os.urandom(16).hex()
        supervise = supervisor.Handles(
            listener, self._read_end, links[0], bell[0], kept, turns, life
        )
        self._supervisor = _Service(
            "supervisor", lambda first: supervisor.run(wanted, supervise, first=first)
        )
        self._forks = _Service(
            "fork server", lambda _: _serve_forks(links[1], bell[1], me, wanted.engine)
        )
        self._unsent: collections.deque[bytes] = collections.deque()
        self._ending = False
        self._over = False

    def run(self) -> int:
        while not self._over:
            self._spawn_due()
            got = signal.sigtimedwait(_SIGNALS, self._wait_s())
            if got is not None and got.si_signo != signal.SIGCHLD:
                self._ending = True
                if self._supervisor.pid:
                    os.kill(self._supervisor.pid, signal.SIGTERM)
            self._reap()
            self._send()
        return 0

    def _spawn_due(self) -> None:
        for each in (self._supervisor, self._forks):
            if each.pid == 0 and time.monotonic() >= each.due:
                self._spawn(each)

    def _spawn(self, service: _Service) -> None:
        me = os.getpid()
        service.pid = os.fork()
        if service.pid == 0:
            code = 1
            try:
                process.die_with_parent(me)
                process.set_name(f"wasm-node {service.name}")
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C is init's alone
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                # SIGTERM waits until the service has something that answers it.
                signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM})
                service.main(service.starts == 0)
                code = 0
            except BaseException:  # noqa: BLE001  # the top of a process: say it and die
                traceback.print_exc()
            finally:
                os._exit(code)
        service.starts += 1
        service.born = time.monotonic()
        if self._ending and service is self._supervisor:  # it still has to stop what runs
            os.kill(service.pid, signal.SIGTERM)

    def _wait_s(self) -> float:
        dead = [each.due for each in (self._supervisor, self._forks) if each.pid == 0]
        waits = [max(0.0, due - time.monotonic()) for due in dead]
        return min([*waits, _RETRY_S] if self._unsent else [*waits, 3600.0])

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for each in (self._supervisor, self._forks):
                if pid == each.pid:
                    self._died(each, status)
                    break
            else:
                self._unsent.append(endings.pack(pid, status))

    def _died(self, service: _Service, status: int) -> None:
        service.pid = 0
        if self._ending and service is self._supervisor and status == 0:
            self._over = True
            return
        now = time.monotonic()
        service.failures = 0 if now - service.born > _STABLE_S else service.failures + 1
        wait_s = min(_RETRY_S * 2 ** (service.failures - 1), _LONGEST_BACKOFF_S)
        service.due = now + (wait_s if service.failures > 1 else 0.0)
        text = f"the {service.name} ended ({endings.words(status)}); it is started again"
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # init has no logging

    def _send(self) -> None:
        while self._unsent:
            try:
                self._send_end.send(self._unsent[0])
            except BlockingIOError:
                return
            self._unsent.popleft()
