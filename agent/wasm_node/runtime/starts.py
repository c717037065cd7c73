"""
Starting attempts: checked, compiled, given a user and limits, sent to the fork.

At most a few are on their way at a time; more would only wait in the kernel
instead of here. What becomes of one is in its worker's journal: the pipe that
goes with it only says when to look. A pipe that closes on an attempt nobody
has claimed means that the fork server died with it: it is sent again, which is
safe, since two workers cannot claim one attempt.
"""

import collections
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from wasm_node.protocol import layout, messages, records, settings
from wasm_node.runtime import (
    attempts,
    cache,
    durable,
    eventloop,
    forklink,
    lastwords,
    listeners,
    uids,
    volumes,
)
from wasm_node.runtime.limits import groups

_ON_THEIR_WAY = 16
_TRIES = 5
_AGAIN_S = 0.1

Done: TypeAlias = Callable[[messages.Fact | messages.Refusal], None]


@dataclasses.dataclass(eq=False)
class _Job:
    attempt: attempts.Attempt
    spec: records.ContainerSpec
    waiting: list[Done]
    artifact: cache.Artifact | None = None
    tries: int = 0
    withdrawn: bool = False


class Starts:
    """All starts that have not come to the guest yet."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        link: forklink.ForkLink,
        known: attempts.Attempts,
        compiled: cache.Cache,
        users: uids.Uids,
        limits: groups.Groups,
        ports: listeners.Listeners,
        disks: volumes.Volumes,
        wanted: settings.RuntimeSettings,
        started: Callable[[attempts.Attempt], None],
    ) -> None:
        self._loop = loop
        self._link = link
        self._known = known
        self._compiled = compiled
        self._users = users
        self._limits = limits
        self._ports = ports
        self._disks = disks
        self._wanted = wanted
        self._started = started
        self._jobs: dict[records.AttemptId, _Job] = {}
        self._queue: collections.deque[_Job] = collections.deque()
        self._slots = _ON_THEIR_WAY

    def start(self, each: records.AttemptId, done: Done) -> None:
        """Run an attempt, unless it runs or ran already; then say the same."""
        known = self._known.get(each)
        if each in self._jobs:
            self._jobs[each].waiting.append(done)
        elif known is not None:
            done(known.fact())
        else:
            spec = self._read_spec(each)
            if isinstance(spec, messages.Refusal):
                done(spec)
                return
            attempt = self._known.new(each)
            attempt.takes(spec)
            job = self._jobs[each] = _Job(attempt, spec, [done])
            self._compiled.prepare(
                spec.module_path, spec.module_digest, lambda got: self._prepared(job, got)
            )

    def claimed_by(self, pid: int) -> attempts.Attempt | None:
        """Return the attempt on its way whose worker has this pid."""
        for job in self._jobs.values():
            job.attempt.read_journal()
            if job.attempt.told.pid == pid:
                return job.attempt
        return None

    def withdraw(self, attempt: attempts.Attempt) -> bool:
        """Take back a start that has not been sent; False: it has been."""
        job = self._jobs.get(attempt.id)
        if job is None or job.tries:
            return False
        job.withdrawn = True
        return True

    def settle(self, attempt: attempts.Attempt) -> None:
        """Answer those who wait: the attempt runs, or it has ended."""
        job = self._jobs.pop(attempt.id, None)
        for done in job.waiting if job else ():
            done(attempt.fact())

    def _read_spec(self, each: records.AttemptId) -> records.ContainerSpec | messages.Refusal:
        path = layout.attempt(self._wanted.state, each) / layout.SPEC
        try:
            spec = records.ContainerSpec.from_json(durable.read(path) or b"")
        except ValueError as error:
            return _refusal(f"cannot start {each}: {path}: {error}")
        if spec.id != each:
            return _refusal(f"cannot start {each}: its spec is of {spec.id}")
        log = Path(spec.log_path)
        roots = (self._wanted.logs.resolve(), self._wanted.state.resolve())
        if not any(log.parent.resolve().is_relative_to(root) for root in roots):
            text = f"cannot start {each}: its log {log} is not below {self._wanted.logs}"
            return _refusal(text)
        return spec

    def _prepared(self, job: _Job, got: cache.Answer) -> None:
        if job.withdrawn:
            return
        if isinstance(got, messages.Refusal):
            self._refuse(job, got)
            return
        about = self._link.about
        unfit = _unfit(job.spec, got, about.worlds if about else ())
        if unfit:
            self._refuse(job, _refusal(f"cannot start {job.attempt.id}: {unfit}"))
            return
        job.artifact = got
        self._queue.append(job)
        self._proceed()

    def _proceed(self) -> None:
        while self._queue and self._slots:
            job = self._queue.popleft()
            if job.withdrawn:
                continue
            try:
                self._send(job)
            except listeners.PortTaken as error:
                self._refuse(job, _refusal(str(error), retry=True, reason="PortTaken"))
            except OSError as error:
                text = f"cannot start {job.attempt.id}: {error.strerror or error}"
                self._refuse(job, _refusal(text, retry=True, reason="RunContainerError"))

    def _send(self, job: _Job) -> None:
        assert job.artifact is not None  # noqa: S101  # it would not be in the queue
        attempt, spec = job.attempt, job.spec
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        user = self._users.of(attempt.id.pod_uid)
        self._disks.make(attempt.id.pod_uid, spec.mounts, user)
        if spec.message_file:
            lastwords.make(attempt.directory / layout.MESSAGE, spec.message_file, user)
        self._known.begins(attempt)
        joins = self._limits.make(attempt.id, spec.memory_limit_bytes, spec.cpu_limit_millis)
        order = {
            "uid": user,
            "cgroups": joins,
            "bounded": not joins,
            "cache": str(job.artifact.directory),
            "artifact": job.artifact.name,
            "kind": job.artifact.kind,
        }
        doors = self._ports.open(attempt.id, spec.http) if spec.http else []
        directory = os.open(attempt.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            log = os.open(spec.log_path, flags, 0o640)
        except OSError:
            for fd in (directory, *doors):
                os.close(fd)
            raise
        uids.give_to_agent(log, self._wanted)  # it shows logs to people
        news, writer = os.pipe2(os.O_CLOEXEC)
        job.tries += 1
        self._slots -= 1
        self._loop.watch(news, lambda _events: self._heard(job, news))
        self._link.order("run", order, (directory, log, writer, *doors))

    def _heard(self, job: _Job, news: int) -> None:
        self._loop.forget(news)
        os.close(news)
        self._slots += 1
        self._look(job)
        self._proceed()

    def _look(self, job: _Job, *, again: bool = False) -> None:
        attempt = job.attempt
        attempt.read_journal()
        if attempt.phase is not attempts.Phase.STARTING:
            pass  # init's word of its end was quicker
        elif attempt.told.exit is not None:
            pass  # it could not start; init's word of that is on its way
        elif attempt.told.entered_at_ns or (attempt.told.pid and again):
            self._known.runs(attempt)
            self._started(attempt)
        elif attempt.told.pid:
            # For another supervisor; its worker may take the claim back.
            self._loop.later(_AGAIN_S, lambda: self._look(job, again=True))
        elif job.tries < _TRIES:
            self._loop.later(_AGAIN_S * job.tries, lambda: self._prepared_again(job))
        else:
            text = f"cannot start {attempt.id}: its worker died before it began"
            self._refuse(job, _refusal(text, retry=True, reason="RunContainerError"))

    def _prepared_again(self, job: _Job) -> None:
        self._queue.append(job)
        self._proceed()

    def _refuse(self, job: _Job, refusal: messages.Refusal) -> None:
        del self._jobs[job.attempt.id]
        self._limits.remove(job.attempt.id)
        if job.attempt.http is not None:
            self._ports.close(job.attempt.id)
        (job.attempt.directory / layout.STOP).unlink(missing_ok=True)
        self._known.drop(job.attempt)
        for done in job.waiting:
            done(refusal)


def _unfit(spec: records.ContainerSpec, artifact: cache.Artifact, worlds: tuple[str, ...]) -> str:
    """Return why a program cannot serve as its spec has it; or nothing."""
    mode = spec.http.mode if spec.http else ""
    serves = artifact.kind in messages.SERVERS
    if serves and not mode:
        return "it answers HTTP requests, and its container names no port for that"
    if mode == "proxy" and not serves:
        return "it exports neither wasi:http/incoming-handler@0.2.x nor wasi:http/handler@0.3.x"
    if mode == "wagi" and artifact.kind != "module":
        return "wagi is for modules of wasi_snapshot_preview1, and it is a component"
    if not any(each.startswith("wasi:http/") for each in worlds):
        missing = "install wasm-node-engine beside wasm-node"
        if mode:
            return f"this node cannot serve HTTP: {missing}"
        if spec.grants and spec.grants.reaches():
            return f"this node cannot let it reach others: {missing}"
    return ""


def _refusal(
    text: str, *, retry: bool = False, reason: str = "CreateContainerError"
) -> messages.Refusal:
    return messages.Refusal(retry=retry, reason=reason, message=text)
