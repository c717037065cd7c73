"""
All attempts that this supervisor knows, by id and by the pid of their worker.

In memory for speed; every word of it can be read again from the state
directory, which is what happens after the supervisor was killed. An attempt
waits, starts, runs and ends, in this order and never back.
"""

import contextlib
import dataclasses
import enum
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from wasm_node.protocol import journal, layout, messages, records
from wasm_node.runtime import crilog, durable, lastwords, processes

_END_BYTES = 1 << 16
_MOST_DENIED_BESIDE = 32
"""A probe runs without end, and may want of another address each time."""
_COMMAND_CHARS = 64

Read = TypeVar("Read")


class Phase(enum.Enum):
    """How far an attempt has come."""

    STARTING = 1
    RUNNING = 2
    ENDED = 3


@dataclasses.dataclass(eq=False)
class Attempt:
    """
    One attempt.

    Attributes:
        id: which.
        directory: where its files lie.
        phase: how far it has come.
        told: its worker's journal, as last read.
        stop: the note of its stop; None: nobody asked.
        exit: how it ended; None before.
        http: how it serves HTTP; None: it does not.
        module: digest of what it runs; empty: its spec is gone.
        beside: pids of programs that run beside it.
        spared: kills by the kernel, in its group, of programs beside it.
        denied_beside: what programs beside it wanted of the network and may
            not have, the first few.
        earlier: it was begun by a runtime before this one.
    """

    id: records.AttemptId
    directory: Path
    phase: Phase = Phase.STARTING
    told: journal.Journal = dataclasses.field(default_factory=journal.Journal)
    stop: journal.StopNote | None = None
    exit: records.ExitRecord | None = None
    http: records.Http | None = None
    module: str = ""
    beside: set[int] = dataclasses.field(default_factory=set)
    spared: int = 0
    denied_beside: tuple[records.Denial, ...] = ()
    earlier: bool = False

    def read_journal(self) -> None:
        """Take in what the worker has written by now."""
        self.told = processes.told(self.directory)

    def hear_beside(self, command: str, denied: Iterable[records.Denial]) -> bool:
        """Take in what a program beside it was denied; say if that is new."""
        by = command[:_COMMAND_CHARS]
        named = (dataclasses.replace(each, command=by) for each in denied)
        new = [each for each in named if each not in self.denied_beside]
        before = len(self.denied_beside)
        self.denied_beside = (*self.denied_beside, *new)[:_MOST_DENIED_BESIDE]
        return len(self.denied_beside) > before

    def spare(self) -> None:
        """Put on record that the kernel has killed a program beside it."""
        self.spared += 1
        with contextlib.suppress(OSError):  # then it may be told of the attempt later
            durable.write(self.directory / layout.SPARED, b"%d" % self.spared)

    def kills(self, in_group: int) -> int:
        """Return how many of so many kills by the kernel were not of others."""
        return max(0, in_group - self.spared)  # the group may be gone by now

    def note_stop(self, note: journal.StopNote) -> None:
        """Put a stop on record; before any signal is sent."""
        self.stop = note
        with contextlib.suppress(OSError):  # a full disk must not keep it running
            durable.write(self.directory / layout.STOP, note.to_json())

    def note_exit(self, how: records.ExitRecord) -> None:
        """Put the ending on record; for good."""
        with contextlib.suppress(OSError):  # a full disk, or the agent was too quick
            durable.write(self.directory / layout.EXIT, how.to_json())
            lastwords.remove(self.directory / layout.MESSAGE)

    def stop_grace_s(self) -> float | None:
        """Return how long its own end is worth waiting for; None: any time."""
        spec = self.spec()
        return spec.stop_grace_s if spec else None

    @property
    def is_held(self) -> bool:
        """Whether its stop waits for the agent."""
        return self.stop is not None and self.stop.held

    def explained(self, how: records.ExitRecord) -> records.ExitRecord:
        """Add the guest's last words to an ending, as its spec has it."""
        spec = self.spec()
        if spec is None:
            return how
        file = self.directory / layout.MESSAGE / spec.message_file
        said = lastwords.read(file) if spec.message_file else ""
        if not said and how.code and spec.message_from_log:
            said = crilog.last(_end_of(Path(spec.log_path)))
        return dataclasses.replace(how, message=": ".join(filter(None, (how.message, said))))

    def read_spec(self) -> None:
        """Take in what its spec says of it."""
        spec = self.spec()
        if spec is not None:
            self.takes(spec)

    def takes(self, spec: records.ContainerSpec) -> None:
        """Take in what it is to run, and how it serves HTTP."""
        self.http = spec.http
        self.module = spec.module_digest

    def spec(self) -> records.ContainerSpec | None:
        """Read its spec; None: it is not there any more."""
        try:
            raw = durable.read(self.directory / layout.SPEC) or b""
            return records.ContainerSpec.from_json(raw)
        except (OSError, ValueError):  # what runs may run on
            return None

    def is_alive(self) -> bool:
        """Say whether the worker's process exists, if only as a zombie."""
        return processes.is_alive(self.told)

    def is_running(self) -> bool:
        """Say whether the worker's process exists and is no zombie."""
        return processes.is_running(self.told)

    def send_signal(self, number: int) -> None:
        """Send a signal to the worker and to no other process, ever."""
        processes.send_signal(self.told, number)

    def fact(self) -> messages.Fact:
        """Return what is known, for the agent."""
        started = self.told.entered_at_ns or self.told.claimed_at_ns
        stop_by, shutdown = 0, False
        if self.exit is not None:
            started = self.exit.started_at_ns
        elif self.stop is not None:
            stop_by = self.stop.deadline_ns if self.stop.held else 0
            shutdown = self.stop.shutdown
        denied = self.told.denied + self.denied_beside
        return messages.Fact(
            self.id, self.told.pid, started, self.exit, denied, stop_by, shutdown, self.earlier
        )


def _end_of(log: Path) -> bytes:
    """Return the last whole lines of a log; none where it cannot be read."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(log, flags), "rb") as file:
            behind = max(0, os.fstat(file.fileno()).st_size - _END_BYTES)
            file.seek(behind)
            read = file.read(_END_BYTES)
    except OSError:
        return b""
    return read.partition(b"\n")[2] if behind else read


def _read(path: Path, parse: Callable[[bytes], Read]) -> Read | None:
    """Read a record; None: there is none, or a power cut left it empty."""
    raw = durable.read(path)
    try:
        return None if raw is None else parse(raw)
    except ValueError:
        return None


def _remove(directory: Path) -> None:
    lastwords.remove(directory / layout.MESSAGE)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


class Attempts:
    """
    The table of all attempts.

    `life`: a word for this runtime, which its supervisors share and no other
    runtime has.
    """

    def __init__(self, state: Path, life: str) -> None:
        self._state = state
        self._life = life.encode()
        self._all: dict[records.AttemptId, Attempt] = {}
        self._by_pid: dict[int, Attempt] = {}
        self._by_pod: dict[str, set[records.AttemptId]] = {}

    def load(self, *, first: bool) -> None:
        """
        Read what an earlier supervisor left: ended and claimed attempts.

        Under a new init (`first`) no worker can be about to claim one: what
        looks like that was cut short, and may be started.
        """
        for each in layout.attempts(self._state):
            found = self.new(each)
            found.read_journal()
            found.exit = _read(found.directory / layout.EXIT, records.ExitRecord.from_json)
            found.stop = _read(found.directory / layout.STOP, journal.StopNote.from_json)
            found.spared = _read(found.directory / layout.SPARED, int) or 0
            found.earlier = durable.read(found.directory / layout.LIFE) != self._life
            if found.exit is not None:
                found.phase = Phase.ENDED
            elif found.told.pid:
                found.read_spec()
                self.runs(found)
            else:
                if first:
                    (found.directory / layout.JOURNAL).unlink(missing_ok=True)
                self.drop(found)

    def new(self, each: records.AttemptId) -> Attempt:
        """Add an attempt that is about to start."""
        attempt = Attempt(each, layout.attempt(self._state, each))
        self._all[each] = attempt
        self._by_pod.setdefault(each.pod_uid, set()).add(each)
        return attempt

    def begins(self, attempt: Attempt) -> None:
        """
        Put on record that it is of this runtime; before its worker may begin.

        Raises:
            OSError: it cannot be, so it must not begin.
        """
        (attempt.directory / layout.LIFE).write_bytes(self._life)

    def get(self, each: records.AttemptId) -> Attempt | None:
        """Return an attempt, if it is known."""
        return self._all.get(each)

    def with_pid(self, pid: int) -> Attempt | None:
        """Return the running attempt whose worker has this pid."""
        return self._by_pid.get(pid)

    def runs(self, attempt: Attempt) -> None:
        """Note that its worker is at work."""
        attempt.phase = Phase.RUNNING
        self._by_pid[attempt.told.pid] = attempt

    def put_down(self, attempt: Attempt, how: records.ExitRecord) -> None:
        """Put on record how its worker ended; that may not be all of it yet."""
        self._by_pid.pop(attempt.told.pid, None)
        attempt.note_exit(how)

    def ends(self, attempt: Attempt, how: records.ExitRecord) -> None:
        """Note how it ended, and that nothing of it is left."""
        attempt.exit = how
        attempt.phase = Phase.ENDED

    def drop(self, attempt: Attempt) -> None:
        """Know it no more."""
        del self._all[attempt.id]
        for pid in [pid for pid, each in self._by_pid.items() if each is attempt]:
            del self._by_pid[pid]
        siblings = self._by_pod[attempt.id.pod_uid]
        siblings.discard(attempt.id)
        if not siblings:
            del self._by_pod[attempt.id.pod_uid]

    def prune(self, newest: Attempt) -> None:
        """Remove attempts that are older than the last but one."""
        for each in self.of_pod(newest.id.pod_uid):
            same = each.id.container == newest.id.container
            if same and each.id.attempt < newest.id.attempt - 1 and each.phase is Phase.ENDED:
                self.drop(each)
                _remove(each.directory)

    def forget(self, uid: str) -> None:
        """Remove all that is known of a pod."""
        for each in self.of_pod(uid):
            self.drop(each)
        pod = layout.pod(self._state, uid)
        for directory in pod.glob("containers/*/*"):
            _remove(directory)
        for directory in (*pod.glob("containers/*"), pod / "containers"):
            with contextlib.suppress(FileNotFoundError):
                directory.rmdir()

    def of_pod(self, uid: str) -> list[Attempt]:
        """List the attempts of one pod."""
        return [self._all[each] for each in self._by_pod.get(uid, ())]

    def is_running(self, uid: str) -> bool:
        """Say whether an attempt of a pod has not ended."""
        return any(each.phase is not Phase.ENDED for each in self.of_pod(uid))

    def unfinished(self) -> Iterator[Attempt]:
        """Iterate over those that are starting or running."""
        return (each for each in tuple(self._all.values()) if each.phase is not Phase.ENDED)

    def page(self, after: str) -> list[messages.Fact]:
        """List facts in the order of their ids as text, from behind `after`."""
        known = [each for each in self._all.values() if each.phase is not Phase.STARTING]
        behind = sorted((each for each in known if str(each.id) > after), key=lambda x: str(x.id))
        return [each.fact() for each in behind[: messages.PAGE]]
