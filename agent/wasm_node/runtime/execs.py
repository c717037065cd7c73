"""
Programs beside running attempts: begun, killed, never left behind.

Each run is a worker as an attempt's is, in the attempt's sandbox, with a
directory of its own below the run directory: a spec, which is the attempt's
with another program in it, and a journal. It ends with whoever asked for it,
with its attempt, and with this supervisor: the next one finds the directory,
kills the process that its journal names, and removes it. An order still on its
way by then comes to a worker whose news nobody reads, and which goes away.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from wasm_node.protocol import journal, layout, messages, records, settings
from wasm_node.runtime import (
    attempts,
    cache,
    durable,
    endings,
    eventloop,
    forklink,
    processes,
    uids,
)
from wasm_node.runtime.limits import groups

_TRIES = 5
_AGAIN_S = 0.1
_DYING_S = 1.0
_LOOK_AGAIN_S = 0.002
_KILLED = 128 + signal.SIGKILL
_MOST_EXPORT_BYTES = 4096
"""Of an export's name: it travels in an order, which is at most 64 KiB."""

Done: TypeAlias = Callable[[records.ExitRecord | messages.Refusal], None]


@dataclasses.dataclass(eq=False)
class _Run:
    attempt: attempts.Attempt
    spec: records.ContainerSpec
    export: str
    streams: list[int]
    done: Done
    directory: Path
    artifact: cache.Artifact | None = None
    told: journal.Journal = dataclasses.field(default_factory=journal.Journal)
    news: int | None = None
    tries: int = 0
    killed: bool = False
    over: bool = False

    @property
    def name(self) -> str:
        return _name(self.spec)

    def release(self) -> None:
        for fd in self.streams:
            os.close(fd)
        self.streams = []


class Execs:
    """All programs that run beside attempts, or are about to."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        link: forklink.ForkLink,
        known: attempts.Attempts,
        compiled: cache.Cache,
        users: uids.Uids,
        limits: groups.Groups,
        wanted: settings.RuntimeSettings,
        tell: Callable[[attempts.Attempt], None],
    ) -> None:
        self._tell = tell
        self._loop = loop
        self._link = link
        self._known = known
        self._compiled = compiled
        self._users = users
        self._limits = limits
        self._root = wanted.run / layout.EXECS
        self._root.mkdir(mode=0o700, exist_ok=True)
        self._runs: dict[records.AttemptId, set[_Run]] = {}
        self._by_pid: dict[int, _Run] = {}
        self._last: dict[records.AttemptId, eventloop.Callback] = {}

    def adopt(self) -> None:
        """End what an earlier supervisor has left; after the attempts."""
        patience = time.monotonic() + _DYING_S
        for directory in list(self._root.iterdir()):
            told = processes.told(directory)
            self._explain(directory, told)
            processes.send_signal(told, signal.SIGKILL)
            while processes.is_running(told) and time.monotonic() < patience:
                time.sleep(_LOOK_AGAIN_S)
            shutil.rmtree(directory, ignore_errors=True)

    def _explain(self, directory: Path, told: journal.Journal) -> None:
        """Put down with its attempt what is known of one that was left."""
        with contextlib.suppress(OSError, ValueError):
            spec = records.ContainerSpec.from_json((directory / layout.SPEC).read_bytes())
            attempt = self._known.get(spec.id)
            if attempt is not None:
                attempt.hear_beside(_name(spec), told.denied)
                self._explain_kills(attempt, told)

    def _explain_kills(self, attempt: attempts.Attempt, told: journal.Journal) -> None:
        # What died unseen and without a word while its attempt runs on: if
        # the kernel has killed in their group, it was that.
        if told.pid == 0 or told.exit is not None or processes.is_running(told):
            return
        if attempt.is_running() and self._kills(attempt):
            attempt.spare()

    def begin(self, wanted: messages.Exec, streams: list[int], done: Done) -> eventloop.Callback:
        """
        Run a program; its streams are ours from here on.

        Calls `done` once: with its end, or with why it could not begin. Returns
        what to call when nobody wants to know any more.
        """
        attempt = self._known.get(wanted.id)
        is_up = attempt is not None and attempt.phase is attempts.Phase.RUNNING
        ends = wanted.id in self._last
        spec = attempt.spec() if attempt is not None and is_up and not ends else None
        if attempt is None or spec is None:
            for fd in streams:
                os.close(fd)
            done(_not_running(wanted.id))
            return lambda: None
        own = dataclasses.replace(
            spec,
            module_path=wanted.module_path,
            module_digest=wanted.module_digest,
            argv=wanted.argv,
            http=None,
        )
        directory = self._root / uuid.uuid4().hex
        run = _Run(attempt, own, wanted.export, streams, done, directory)
        self._runs.setdefault(attempt.id, set()).add(run)
        self._compiled.prepare(
            own.module_path, own.module_digest, lambda got: self._prepared(run, got)
        )
        return lambda: self._kill(run)

    def modules(self) -> Iterator[str]:
        """Iterate over the digests of what they run."""
        return (run.spec.module_digest for runs in self._runs.values() for run in runs)

    def end(self, each: records.AttemptId, then: eventloop.Callback) -> None:
        """Kill all that runs beside an attempt; call back when it is gone."""
        for run in tuple(self._runs.get(each, ())):
            self._kill(run)
        if each in self._runs:
            self._last[each] = then
        else:
            then()

    def ended(self, pid: int, status: int) -> bool:
        """Take in init's word of a process; False: it is none of these."""
        run = self._run_of(pid)
        if run is None:
            return False
        self._look(run)
        del self._by_pid[pid]
        run.attempt.beside.discard(pid)
        by_kernel = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        how = endings.decide(
            run.told,
            stopped=False,
            memory_kills=self._kills(run.attempt) if by_kernel and not run.killed else 0,
            status=status,
            now_ns=time.time_ns(),
        )
        if run.told.exit is None and run.killed:
            why = f"it was ended with {run.attempt.id}, beside which it ran"
            how = dataclasses.replace(how, code=_KILLED, ended_by=records.EndedBy.STOP, message=why)
        elif run.told.exit is None and how.ended_by is records.EndedBy.MEMORY:
            run.attempt.spare()
        if how.ended_by is records.EndedBy.NEVER_STARTED:
            self._finish(run, _refusal(f"{run.name}: {how.message}", how.reason))
        else:
            self._finish(run, how)
        return True

    def heard(self, pid: int) -> None:
        """Look for news of a process, if it is one of these."""
        run = self._run_of(pid)
        if run is not None:
            self._look(run)

    def _run_of(self, pid: int) -> _Run | None:
        if pid not in self._by_pid:  # word of it may be quicker than its own
            sent = (run for runs in self._runs.values() for run in runs if run.tries)
            for each in [run for run in sent if not run.told.pid]:
                self._look(each)
        return self._by_pid.get(pid)

    def _look(self, run: _Run) -> None:
        told = processes.told(run.directory)
        if told.pid:  # else nobody has claimed it, or has taken the claim back
            run.told = told
            run.attempt.beside.add(told.pid)
            self._by_pid[told.pid] = run
            if run.attempt.hear_beside(run.name, told.denied):
                self._tell(run.attempt)

    def _kills(self, attempt: attempts.Attempt) -> int:
        return attempt.kills(self._limits.memory_kills(attempt.id))

    def _prepared(self, run: _Run, got: cache.Answer) -> None:
        if run.over:
            return
        if isinstance(got, messages.Refusal):
            self._finish(run, got)
            return
        unfit = _unfit(run.export, got)
        if unfit:
            self._finish(run, _refusal(f"cannot run {run.name}: {unfit}", "BadCommand"))
            return
        run.artifact = got
        try:
            run.directory.mkdir(mode=0o700)
            durable.write(run.directory / layout.SPEC, run.spec.to_json())
        except OSError as error:
            self._fail(run, str(error))
            return
        self._send(run)

    def _send(self, run: _Run) -> None:
        if run.over:
            return
        assert run.artifact is not None  # noqa: S101  # set before it is first sent
        joins = self._limits.joins(run.attempt.id)
        order = {
            "uid": self._users.of(run.attempt.id.pod_uid),
            "cgroups": joins,
            "bounded": not joins,
            "cache": str(run.artifact.directory),
            "artifact": run.artifact.name,
            "kind": run.artifact.kind,
            "export": run.export,
        }
        fds: list[int] = []
        try:
            fds.append(os.open(run.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            news, writer = os.pipe2(os.O_CLOEXEC)
            run.news = news
            fds.append(writer)
            fds.extend(os.dup(each) for each in run.streams)
        except OSError as error:
            for fd in fds:
                os.close(fd)
            self._fail(run, error.strerror or str(error))
            return
        run.tries += 1
        self._loop.watch(news, lambda _events: self._heard(run))
        self._link.order("exec", order, fds)

    def _heard(self, run: _Run) -> None:
        self._hear_no_more(run)
        self._look(run)
        if run.told.pid:
            run.release()
        elif run.tries < _TRIES:  # the fork server died with it
            self._loop.later(_AGAIN_S * run.tries, lambda: self._send(run))
        else:
            self._fail(run, "its worker died before it began")

    def _kill(self, run: _Run) -> None:
        if run.over:
            return
        # In this order: a worker that claims after the look finds no reader.
        self._hear_no_more(run)
        self._look(run)
        if run.told.pid:
            run.killed = True
            processes.send_signal(run.told, signal.SIGKILL)
        else:
            self._finish(run, _not_running(run.attempt.id))

    def _hear_no_more(self, run: _Run) -> None:
        if run.news is not None:
            self._loop.forget(run.news)
            os.close(run.news)
            run.news = None

    def _fail(self, run: _Run, why: str) -> None:
        text = f"cannot run {run.name}: {why}"
        self._finish(run, _refusal(text, "RunContainerError", retry=True))

    def _finish(self, run: _Run, answer: records.ExitRecord | messages.Refusal) -> None:
        run.over = True
        self._hear_no_more(run)
        run.release()
        self._remove(run.directory)
        beside = self._runs[run.attempt.id]
        beside.discard(run)
        run.done(answer)
        if not beside:
            del self._runs[run.attempt.id]
            self._last.pop(run.attempt.id, lambda: None)()

    def _remove(self, directory: Path, *, again: bool = True) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        if again and directory.exists():  # a worker that goes away was about to claim it
            self._loop.later(_DYING_S, lambda: self._remove(directory, again=False))


def _name(spec: records.ContainerSpec) -> str:
    return spec.argv[0] if spec.argv else spec.module_path


def _unfit(export: str, artifact: cache.Artifact) -> str:
    """Return why a program cannot be run so; or nothing."""
    if artifact.kind in messages.SERVERS and not export:
        return "it answers HTTP requests and has no start; name an export to call"
    if len(export.encode()) > _MOST_EXPORT_BYTES:
        return f"the name of an export has at most {_MOST_EXPORT_BYTES} bytes"
    return ""


def _not_running(each: records.AttemptId) -> messages.Refusal:
    return _refusal(f"cannot run anything beside {each}: it does not run", messages.NOT_RUNNING)


def _refusal(text: str, reason: str, *, retry: bool = False) -> messages.Refusal:
    return messages.Refusal(retry=retry, reason=reason, message=text)
