"""A Containers that runs nothing and ends what it is told to."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from tests.fakes import hosts
from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import ids, image, observed
from wasm_node.protocol import messages, records
from wasm_node.protocol.records import EndedBy

_GONE = "cannot reach the runtime: away"


Behaviour: TypeAlias = Callable[[image.Program, str, interfaces.Streams], Coroutine[Any, Any, int]]
"""What a program does with its export and streams, until its exit code."""


async def succeeds(_program: image.Program, _export: str, _streams: interfaces.Streams) -> int:
    """End at once, with 0."""
    return 0


class FakeContainers:
    """
    Remembers what was asked; attempts run until stopped or `end`ed.

    Attributes:
        away: every call fails as if the runtime were gone.
        cannot_prepare: by digest, what prepare raises.
        specs: of every attempt started, in order.
        prepared: digests, in order.
        stops: attempt and grace of every stop, in order.
        forgotten: pods, in order.
        executes: what programs beside an attempt do; may be replaced.
        executed: attempt, argv and export of each of them, in order.
        killed: attempts of those that had to be ended, in order.
    """

    def __init__(self) -> None:
        self.away = False
        self.cannot_prepare: dict[str, errors.NodeError] = {}
        self.specs: list[records.ContainerSpec] = []
        self.prepared: list[str] = []
        self.stops: list[tuple[records.AttemptId, float]] = []
        self.forgotten: list[ids.PodUid] = []
        self.executes: Behaviour = succeeds
        self.executed: list[tuple[records.AttemptId, tuple[str, ...], str]] = []
        self.killed: list[records.AttemptId] = []
        self._beside: dict[records.AttemptId, set[asyncio.Task[int]]] = {}
        self._now = 1_000_000_000_000_000_000
        self._running: dict[records.AttemptId, observed.Running] = {}
        self._all: dict[records.AttemptId, observed.Fact] = {}
        self._readers: list[asyncio.Queue[observed.News]] = []
        self._lives = 1
        self._life = ""

    async def prepare(self, program: image.Program) -> bool:
        """Remember it, or raise what was set for its digest."""
        self._here()
        if program.digest in self.cannot_prepare:
            raise self.cannot_prepare[program.digest]
        self.prepared.append(program.digest)
        return False

    async def start(self, spec: records.ContainerSpec, *, life: str = "") -> observed.Running:
        """Have it run until it is ended from outside."""
        self._here()
        if life and life != str(self._lives):
            text = f"cannot start {spec.id}: the runtime it was meant for is no more"
            raise errors.Outdated(text, reason="RuntimeUnavailable")
        if spec.module_digest in self.cannot_prepare:
            raise self.cannot_prepare[spec.module_digest]
        if spec.id not in self._running:
            self.specs.append(spec)
            running = observed.Running(spec.id, len(self.specs), self._tick() / 1e9)
            self._running[spec.id] = running
            self._tell(running)
        return self._running[spec.id]

    async def stop(self, attempt: records.AttemptId, *, grace_s: float) -> None:
        """End it at once, as a stop; a grace is not used up."""
        self._here()
        self.stops.append((attempt, grace_s))
        if isinstance(self._all.get(attempt), observed.Running):
            self.end(attempt, 143, EndedBy.STOP, "Error")

    async def execute(
        self,
        attempt: records.AttemptId,
        program: image.Program,
        *,
        export: str,
        streams: interfaces.Streams,
    ) -> records.ExitRecord:
        """Do what `executes` does, unless something ends it before."""
        self._here()
        if not isinstance(self._all.get(attempt), observed.Running):
            text = f"cannot run {program.argv[0]} beside {attempt}: it does not run"
            raise errors.NotFound(text, reason="NotRunning")
        if program.digest in self.cannot_prepare:
            raise self.cannot_prepare[program.digest]
        self.executed.append((attempt, program.argv, export))
        started = self._tick()
        beside = self._beside.setdefault(attempt, set())
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.executes(program, export, streams))
                beside.add(running)
        finally:
            beside.discard(running)
            if running.cancelled():
                self.killed.append(attempt)
        if running.cancelled():
            why = "its container has ended"
            return records.ExitRecord(137, EndedBy.STOP, "Error", why, started, self._tick())
        code = running.result()
        reason = "Error" if code else "Completed"
        return records.ExitRecord(code, EndedBy.ITSELF, reason, "", started, self._tick())

    async def forget(self, pod: ids.PodUid) -> None:
        """Drop what has ended."""
        self._here()
        for fact in self._all.values():
            if fact.id.pod_uid == pod and isinstance(fact, observed.Running):
                text = f"cannot forget pod {pod}: a container of it still runs"
                raise errors.Retryable(text, reason="PodStillRunning")
        self.forgotten.append(pod)
        for kept in (self._all, self._running):
            for each in [each for each in kept if each.pod_uid == pod]:
                del kept[each]

    def room(self) -> messages.Room | None:
        """Return a small one."""
        return hosts.ROOM

    def life(self) -> str:
        """Return a number: each `replace` is one more."""
        return self._life

    async def facts(self) -> AsyncIterator[observed.News]:
        """Yield all facts, then changes; a list again after `reconnect`."""
        queue: asyncio.Queue[observed.News] = asyncio.Queue()
        queue.put_nowait(list(self._all.values()))
        self._readers.append(queue)
        while True:
            news = await queue.get()
            yield news
            if isinstance(news, Sequence):
                self._life = str(self._lives)

    def end(
        self,
        attempt: records.AttemptId,
        code: int,
        ended_by: EndedBy = EndedBy.ITSELF,
        reason: str = "",
        message: str = "",
    ) -> None:
        """Have a running attempt end so."""
        started = int(self._running[attempt].started_at * 1e9)
        why = reason or ("Error" if code else "Completed")
        record = records.ExitRecord(code, ended_by, why, message, started, self._tick())
        self._tell(observed.Ended(attempt, record))
        for each in self._beside.pop(attempt, ()):
            each.cancel()

    def shut_down(self, *attempts: records.AttemptId, stop_by: float = 0.0) -> None:
        """
        Have every reader learn that the runtime ends, and whom it ends.

        With a time, it holds them until then.
        """
        self._send(observed.Ending())
        for each in attempts:
            self._running[each] = dataclasses.replace(
                self._running[each], stop_by=stop_by, shutdown=True
            )
            self._tell(self._running[each])

    def disconnect(self) -> None:
        """Have every reader of facts learn that the runtime has gone."""
        self._send(observed.Away(_GONE))

    def reconnect(self) -> None:
        """Have every reader of facts lose the runtime, and get a full list."""
        self.disconnect()
        self._send(list(self._all.values()))

    def replace(self) -> None:
        """End the runtime with all that it runs; another takes its place."""
        for each in list(self._all.values()):
            if isinstance(each, observed.Running):
                self.end(each.id, 137, EndedBy.UNKNOWN, "ContainerStatusUnknown")
        ended = (each for each in self._all.values() if isinstance(each, observed.Ended))
        self._all = {each.id: dataclasses.replace(each, earlier=True) for each in ended}
        self._lives += 1
        self.reconnect()

    def _tell(self, fact: observed.Fact) -> None:
        self._all[fact.id] = fact
        self._send(fact)

    def _send(self, news: observed.News) -> None:
        for queue in self._readers:
            queue.put_nowait(news)

    def _here(self) -> None:
        if self.away:
            raise errors.Retryable(_GONE, reason="RuntimeUnavailable")

    def _tick(self) -> int:
        self._now += 1_000_000
        return self._now
