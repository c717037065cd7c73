"""
One container: claims its attempt, gives up its rights, runs its guest.

The order is the point of `main`. First the claim, which no second worker for
the same attempt can make; then all that needs the runtime's rights (cgroups,
mounts); then the lockdown; then the only thread. The main thread copies the
guest's output into the log and waits for a stop; the guest runs in the other,
without the interpreter's lock. Whatever happens, the last line of the journal
is the truth about it, written before the process ends.

`beside` is the same for a program that somebody runs beside an attempt: its
streams are that person's, and it needs no second thread, as nothing stops it
but a kill.
"""

import contextlib
import os
import resource
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from wasm_node.protocol import journal, layout, records
from wasm_node.runtime import descriptors, pump
from wasm_node.runtime.engines import outcomes, wasmtime_py
from wasm_node.runtime.lockdown import process

_MESSAGE_CHARS = 4000
_STACK_BYTES = 8 << 20
_FILES = 1024
_PROCESSES = 128


def main(
    engine: wasmtime_py.Engine,
    order: dict[str, Any],
    fds: list[int],
    init: int,
) -> NoReturn:
    """Be the worker of one attempt; `fds` are its directory, log and news."""
    directory, log, news = fds
    wake, waker = os.pipe2(os.O_NONBLOCK)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # the byte below is what counts
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    diary = _claim(directory, news)
    spec = _begin(directory, "wasm")
    outputs = pump.Pump(log, wake)
    process.close_all_but({0, 1, 2, waker, *outputs.fds(), *diary.fds()})
    guest = _Guest(engine, order, spec, diary, init, direct=False)
    result: list[outcomes.Outcome | BaseException] = []

    def run() -> None:
        result.append(guest.run())
        os.write(waker, b"\0")

    threading.stack_size(_STACK_BYTES)
    threading.Thread(target=run, daemon=True).start()
    outputs.run(until=lambda byte: byte in {0, signal.SIGTERM})
    if not result:  # told to stop: who told us, the supervisor has noted
        os._exit(128 + signal.SIGTERM)
    _end(diary, result[0], outputs.say)


def beside(
    engine: wasmtime_py.Engine,
    order: dict[str, Any],
    fds: list[int],
    init: int,
) -> NoReturn:
    """
    Be the worker of a program beside an attempt.

    `fds` are its directory and news, and stdin, stdout and stderr.
    """
    directory, news, *streams = fds
    diary = _claim(directory, news)
    spec = _begin(directory, "exec")
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    process.close_all_but({0, 1, 2, *diary.fds()})
    guest = _Guest(engine, order, spec, diary, init, direct=True)
    _end(diary, guest.run(order["export"]), lambda text: descriptors.write(2, text.encode()))


class _Guest:
    """One guest, all that it needs opened, in a process without rights."""

    def __init__(
        self,
        engine: wasmtime_py.Engine,
        order: dict[str, Any],
        spec: records.ContainerSpec,
        diary: "_Diary",
        init: int,
        *,
        direct: bool,
    ) -> None:
        self._engine = engine
        self._diary = diary
        self._limit = spec.memory_limit_bytes if order["bounded"] else None
        try:
            for group in order["cgroups"]:
                Path(group).write_bytes(b"0")
            self._wasi = engine.admit(spec, direct=direct)
            os.chdir(order["cache"])
            _lock_down(order["uid"], init)
            self._code = engine.load(order["artifact"], order["kind"])
            os.chdir("/")
        except (outcomes.CannotStart, OSError) as error:
            diary.end(_never_started(str(error)))

    def run(self, export: str = "") -> outcomes.Outcome | BaseException:
        """Return how it ended, or why that cannot be told."""
        enter = self._diary.enter
        try:
            return self._engine.run(self._code, self._wasi, self._limit, enter, export)
        except BaseException as error:  # noqa: BLE001  # it is told, whatever it is
            return error


def _begin(directory: int, kind: str) -> records.ContainerSpec:
    os.setsid()
    os.umask(0o022)
    spec = _spec(directory)
    process.set_name(f"{kind}:{spec.id.container}")
    return spec


def _end(
    diary: "_Diary", result: outcomes.Outcome | BaseException, say: Callable[[str], None]
) -> NoReturn:
    if isinstance(result, outcomes.Outcome):
        say(result.trace)
        diary.end(diary.by_itself(result))
    if isinstance(result, outcomes.CannotStart):
        diary.end(_never_started(str(result)))
    diary.end(diary.by_itself(outcomes.failed(repr(result))))


class _Diary:
    """Writes the journal, and wakes the supervisor when there is news in it."""

    def __init__(self, journal_fd: int, news: int) -> None:
        self._journal = journal_fd
        self._news = news
        self._entered_at_ns = 0

    def fds(self) -> set[int]:
        return {self._journal, self._news}

    def write(self, line: bytes) -> None:
        os.write(self._journal, line)

    def enter(self) -> None:
        self._entered_at_ns = time.time_ns()
        self.write(journal.entered(self._entered_at_ns))
        os.close(self._news)

    def by_itself(self, outcome: outcomes.Outcome) -> records.ExitRecord:
        return records.ExitRecord(
            outcome.code,
            outcome.ended_by,
            outcome.reason,
            outcome.message[:_MESSAGE_CHARS],
            self._entered_at_ns,
            time.time_ns(),
        )

    def end(self, how: records.ExitRecord) -> NoReturn:
        with contextlib.suppress(OSError):  # a full disk: the supervisor sees the status
            self.write(journal.ended(how))
        os._exit(how.code)


def _claim(directory: int, news: int) -> _Diary:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
    try:
        diary = _Diary(os.open(layout.JOURNAL, flags, 0o640, dir_fd=directory), news)
    except FileExistsError:  # the request came twice; another worker has it
        os._exit(0)
    except FileNotFoundError:  # its directory is gone: nobody wants it any more
        os._exit(0)
    ticks = journal.start_ticks(Path("/proc/self/stat").read_bytes())
    diary.write(journal.claimed(os.getpid(), ticks, time.time_ns()))
    if not _is_read(news):
        # The supervisor that asked is dead, and the next one may have looked
        # before the claim: it would not know of us. Had it been alive after
        # the claim, every later one would find that.
        os.unlink(layout.JOURNAL, dir_fd=directory)
        os._exit(0)
    return diary


def _is_read(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return not poll.poll(0)  # POLLERR: nobody has the other end


def _spec(directory: int) -> records.ContainerSpec:
    fd = os.open(layout.SPEC, os.O_RDONLY, dir_fd=directory)
    with os.fdopen(fd, "rb") as source:
        return records.ContainerSpec.from_json(source.read())


def _lock_down(uid: int | None, init: int) -> None:
    process.limit(resource.RLIMIT_CORE, 0)
    process.limit(resource.RLIMIT_NOFILE, _FILES)
    if uid is not None:
        process.limit(resource.RLIMIT_NPROC, _PROCESSES)
    process.become(uid)
    process.die_with_parent(init)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _never_started(why: str) -> records.ExitRecord:
    now = time.time_ns()
    ended_by = records.EndedBy.NEVER_STARTED
    return records.ExitRecord(128, ended_by, "StartError", why[:_MESSAGE_CHARS], now, now)
