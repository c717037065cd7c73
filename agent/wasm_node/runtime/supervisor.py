"""
The supervisor: what is asked on the socket becomes starts, stops and facts.

Stdlib only, one thread, nothing that cannot be read again from disk: it may be
killed at any time. Its successor reads the state directory, goes on with the
stops it finds, and learns of endings from where its predecessor left off. No
request is answered before that picture is whole.
"""

import dataclasses
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import assert_never

from wasm_node.protocol import journal, messages, records, settings
from wasm_node.runtime import (
    attempts,
    cache,
    endings,
    eventloop,
    execs,
    forklink,
    listeners,
    resources,
    room,
    server,
    shutdowns,
    starts,
    stops,
    uids,
    volumes,
)
from wasm_node.runtime.limits import bounds, host

_LATE_ENDINGS_S = 1.0
_LOOK_AGAIN_S = 0.01
_PID_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Handles:
    """What init keeps for every supervisor; `life` is a word of its own."""

    listener: socket.socket
    endings: socket.socket
    forks: socket.socket
    bell: socket.socket
    kept: tuple[socket.socket, socket.socket]
    turns: int
    life: str


def run(wanted: settings.RuntimeSettings, handles: Handles, *, first: bool) -> None:
    """Supervise until told to end."""
    supervisor = _Supervisor(wanted, handles)
    supervisor.adopt(first=first)
    supervisor.serve()


class _Supervisor:
    def __init__(self, wanted: settings.RuntimeSettings, handles: Handles) -> None:
        self._loop = eventloop.EventLoop()
        self._wanted = wanted
        self._handles = handles
        self._known = attempts.Attempts(wanted.state, handles.life)
        self._users = uids.Uids(wanted.state, wanted.first_uid)
        self._limits = host.choose(wanted.state)
        self._bounds = bounds.Bounds.own()  # NB: after the choice, which may move us
        self._link = forklink.ForkLink(self._loop, handles.forks, self._greeted)
        self._cache = cache.Cache(
            self._loop, self._link, wanted.state / "compiled", self._users.compiler()
        )
        self._stops = stops.Stops(self._loop)
        turns = shutdowns.Turns(handles.turns)
        self._shutdown = shutdowns.Shutdown(self._loop, self._known, wanted.shutdown, turns, self)
        self._listeners = listeners.Listeners(wanted, handles.kept)
        self._volumes = volumes.Volumes(wanted.state)
        self._resources = resources.Resources(
            self._loop, wanted, self._bounds, self._known, self._volumes, self._prune
        )
        self._starts = starts.Starts(
            self._loop,
            self._link,
            self._known,
            self._cache,
            self._users,
            self._limits,
            self._listeners,
            self._volumes,
            wanted,
            self._started,
        )
        self._execs = execs.Execs(
            self._loop,
            self._link,
            self._known,
            self._cache,
            self._users,
            self._limits,
            wanted,
            self._tell,
        )
        self._server: server.Server | None = None
        self._callers: list[tuple[server.Connection, int, int]] = []
        """Who said hello before the fork server had told what it is."""
        handles.endings.setblocking(False)
        handles.bell.setblocking(False)

    def adopt(self, *, first: bool) -> None:
        """Make the picture whole: what runs, what ended, what ended unseen."""
        self._known.load(first=first)
        self._execs.adopt()
        patience = time.monotonic() + _LATE_ENDINGS_S
        if first:  # workers of an earlier init die with it; no record of theirs will come
            for each in self._known.unfinished():
                each.send_signal(signal.SIGKILL)
                while each.is_running() and time.monotonic() < patience:
                    time.sleep(_LOOK_AGAIN_S)
                self._ended(each, None)
        while self._gone() and time.monotonic() < patience:  # records may be on their way
            time.sleep(_LOOK_AGAIN_S)
            self._hear_endings(0)
        for each in self._gone():
            self._ended(each, None)
        for each in self._known.unfinished():
            self._stops.resume(each)
        self._listeners.adopt({x.id: x.http for x in self._known.unfinished() if x.http})
        self._limits.sweep()

    def _gone(self) -> list[attempts.Attempt]:
        running = (x for x in self._known.unfinished() if x.phase is attempts.Phase.RUNNING)
        return [each for each in running if not each.is_alive()]

    def serve(self) -> None:
        """Answer until told to end and nothing runs any more."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        signal.set_wakeup_fd(waker)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._loop.watch(wake, lambda _events: self._shutdown.ask(os.read(wake, 64)))
        self._loop.watch(self._handles.endings.fileno(), self._hear_endings)
        self._loop.watch(self._handles.bell.fileno(), self._hear_bell)
        allowed = {0, os.geteuid()}
        if self._wanted.agent_uid is not None:
            allowed.add(self._wanted.agent_uid)
        self._server = server.Server(
            self._loop, self._handles.listener, frozenset(allowed), self._asked
        )
        self._loop.run()

    def _greeted(self) -> None:
        callers, self._callers = self._callers, []
        for client, seq, version in callers:
            client.send(self._hello(client, seq, version))
        self._cache.proceed()

    def _hear_endings(self, _events: int) -> None:
        # A record is taken off only after its ending is on disk: see init.
        sock = self._handles.endings
        while True:
            try:
                data = sock.recv(endings.BATCH_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                return
            whole = len(data) // endings.RECORD.size * endings.RECORD.size
            for pid, status in endings.RECORD.iter_unpack(data[:whole]):
                attempt = self._known.with_pid(pid)
                if attempt is None and self._execs.ended(pid, status):
                    continue
                attempt = attempt or self._starts.claimed_by(pid)
                if attempt is not None:
                    self._ended(attempt, status)
            sock.recv(whole)

    def _hear_bell(self, _events: int) -> None:
        # It may have been rung by a worker whose guest has got out: each word
        # on it is only a reason to look into a journal.
        pid = int.from_bytes(self._handles.bell.recv(_PID_BYTES), sys.byteorder)
        attempt = self._known.with_pid(pid)
        if attempt is None:
            self._execs.heard(pid)
        else:
            attempt.read_journal()
            self._tell(attempt)

    def _ended(self, attempt: attempts.Attempt, status: int | None) -> None:
        attempt.read_journal()
        if attempt.told.pid == 0:
            self._never_was(attempt)
            return
        how = endings.decide(
            attempt.told,
            stopped=attempt.stop is not None and attempt.stop.signalled,
            memory_kills=attempt.kills(self._limits.memory_kills(attempt.id)),
            status=status,
            now_ns=time.time_ns(),
        )
        self._over(attempt, attempt.explained(how))

    def _never_was(self, attempt: attempts.Attempt) -> None:
        # Its worker took the claim back, since another supervisor had sent it.
        if attempt.stop is not None:
            self._over(attempt, endings.stopped_before_start(time.time_ns()))
        else:
            self._known.drop(attempt)
            self._starts.start(attempt.id, lambda _got: None)

    def _over(self, attempt: attempts.Attempt, how: records.ExitRecord) -> None:
        if attempt.stop is not None and attempt.stop.shutdown:
            how = endings.shut_down(how)
        self._known.put_down(attempt, how)
        self._stops.over(attempt)
        self._execs.end(attempt.id, lambda: self._nothing_left(attempt, how))

    def _nothing_left(self, attempt: attempts.Attempt, how: records.ExitRecord) -> None:
        # Nothing runs beside it any more: a next one may have all that it had.
        self._known.ends(attempt, how)
        self._limits.remove(attempt.id)
        if attempt.http is not None:
            self._listeners.close(attempt.id)
        self._tell(attempt)
        self._starts.settle(attempt)

    def _started(self, attempt: attempts.Attempt) -> None:
        self._known.prune(attempt)
        self._tell(attempt)
        self._starts.settle(attempt)
        if attempt.stop is not None:  # asked for while it was on its way
            self._stops.resume(attempt)

    def _tell(self, attempt: attempts.Attempt) -> None:
        if self._server is not None:
            self._server.tell({"fact": attempt.fact().to_message()})

    def _asked(self, client: server.Connection, seq: int, request: messages.Request) -> None:
        if not _is_too_early(client, seq, request):
            self._do(client, seq, request)

    def _do(self, client: server.Connection, seq: int, request: messages.Request) -> None:
        match request:
            case messages.Hello():
                self._greet(client, seq, request.version)
            case messages.Subscribe():
                self._subscribe(client, seq, request)
            case messages.List():
                facts = [each.to_message() for each in self._known.page(request.after)]
                client.send(messages.done(seq, {"facts": facts}))
            case messages.Prepare():
                self._cache.prepare(
                    request.path, request.digest, lambda got: _answer(client, seq, got)
                )
            case messages.Start():
                self._start(client, seq, request.id)
            case messages.Stop():
                self._stop(request.id, request.grace_s)
                client.send(messages.done(seq))
            case messages.Forget():
                client.send(self._forget(seq, request.pod_uid))
            case (
                messages.Usage()
                | messages.Shares()
                | messages.Disk()
                | messages.Release()
                | messages.Prune()
            ):
                self._resources.answer(client, seq, request)
            case messages.Exec():
                self._execute(client, seq, request)
            case never:
                assert_never(never)

    def _prune(self, done: Callable[[int], None]) -> None:
        def in_use() -> set[str]:
            modules = {each.module for each in self._known.unfinished()}
            return modules.union(self._execs.modules())

        self._cache.prune(in_use, done)

    def _greet(self, client: server.Connection, seq: int, version: int) -> None:
        if self._link.about is None:
            self._callers.append((client, seq, version))
        else:
            client.send(self._hello(client, seq, version))

    def _hello(self, client: server.Connection, seq: int, version: int) -> dict[str, object]:
        if version not in {messages.VERSION, messages.VERSION - 1}:
            text = f"cannot talk version {version}: this runtime talks {messages.VERSION}"
            return messages.refused(seq, _refusal("VersionMismatch", text))
        client.version = version
        assert self._link.about is not None  # noqa: S101  # else it waits
        engine = self._link.about
        offered = room.read(self._wanted, self._bounds, engine.engine, engine.worlds)
        about = {
            "version": messages.VERSION,
            "room": dataclasses.asdict(offered),
            "life": self._handles.life,
        }
        return messages.done(seq, about)

    def _subscribe(self, client: server.Connection, seq: int, wanted: messages.Subscribe) -> None:
        client.subscribed = True
        client.calls_hooks = wanted.calls_hooks
        client.send(messages.done(seq))
        if self._shutdown.has_begun:
            client.send(messages.ENDING)

    def _start(self, client: server.Connection, seq: int, each: records.AttemptId) -> None:
        if self._shutdown.has_begun:
            text = f"cannot start {each}: the runtime is ending"
            client.send(messages.refused(seq, _refusal("RunContainerError", text, retry=True)))
            return
        self._starts.start(each, lambda got: _answer(client, seq, got))

    def _execute(self, client: server.Connection, seq: int, wanted: messages.Exec) -> None:
        streams = client.take_descriptors()
        if client.waits is not None or len(streams) != messages.STREAMS:
            for fd in streams:
                os.close(fd)
            text = f"cannot run anything for {len(streams)} descriptors, or twice in a connection"
            client.send(messages.refused(seq, _refusal("BadRequest", text)))
            return
        client.waits = self._execs.begin(wanted, streams, lambda got: _answer(client, seq, got))

    def announce(self) -> None:
        """Say that the shutdown has begun."""
        if self._server is not None:
            self._server.tell(messages.ENDING)

    def is_heard(self) -> bool:
        """Say whether an agent listens."""
        return self._server is not None and self._server.is_heard

    def hold(self, attempt: attempts.Attempt, most_s: float) -> None:
        """Have the agent stop it, within that time, and say so."""
        self._stops.hold(attempt, most_s)
        self._tell(attempt)

    def end(self, attempt: attempts.Attempt, grace_s: float) -> None:
        """Stop it for the shutdown, and say so."""
        before = attempt.fact()
        self._stop(attempt.id, grace_s, shutdown=True)
        if attempt.phase is attempts.Phase.RUNNING and attempt.fact().shutdown != before.shutdown:
            self._tell(attempt)

    def _stop(self, each: records.AttemptId, grace_s: float, *, shutdown: bool = False) -> None:
        attempt = self._known.get(each)
        if attempt is None or attempt.phase is attempts.Phase.ENDED:
            return
        if attempt.stop_grace_s() == 0.0:
            grace_s = 0.0
        if attempt.phase is attempts.Phase.RUNNING:
            self._stops.stop(attempt, grace_s, shutdown=shutdown)
            return
        deadline = time.time_ns() + int(grace_s * 1e9)
        attempt.note_stop(journal.StopNote(deadline, signalled=False, shutdown=shutdown))
        if self._starts.withdraw(attempt):
            self._over(attempt, endings.stopped_before_start(time.time_ns()))

    def _forget(self, seq: int, uid: str) -> dict[str, object]:
        if self._known.is_running(uid):
            text = f"cannot forget pod {uid}: a container of it still runs; stop it first"
            return messages.refused(seq, _refusal("PodStillRunning", text, retry=True))
        self._known.forget(uid)
        self._volumes.forget(uid)
        self._users.free(uid)
        return messages.done(seq)


def _is_too_early(client: server.Connection, seq: int, request: messages.Request) -> bool:
    if isinstance(request, messages.Hello) or client.version != 0:
        return False
    text = "cannot answer before hello: the first message names a version"
    client.send(messages.refused(seq, _refusal("BadRequest", text)))
    return True


def _refusal(reason: str, text: str, *, retry: bool = False) -> messages.Refusal:
    return messages.Refusal(retry=retry, reason=reason, message=text)


def _answer(
    client: server.Connection,
    seq: int,
    got: messages.Fact | cache.Artifact | records.ExitRecord | messages.Refusal,
) -> None:
    match got:
        case messages.Refusal():
            client.send(messages.refused(seq, got))
        case messages.Fact():
            client.send(messages.done(seq, {"fact": got.to_message()}))
        case records.ExitRecord():
            client.send(messages.done(seq, {"exit": dataclasses.asdict(got)}))
        case cache.Artifact():
            client.send(messages.done(seq, {"kind": got.kind}))
        case never:
            assert_never(never)
