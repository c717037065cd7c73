"""
Containers, by the runtime on the other end of a unix socket.

An attempt's spec travels as a file in its directory, written whole before the
runtime is asked; the request only names it. Every call may be repeated. Facts
are a full list after each connection and then the changes; a start that was
answered while a list was on its way is added to it, so that no list ever says
of a running attempt that it is not there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from wasm_node.agent import errors, interfaces, statedir
from wasm_node.agent.asynckit import backoff
from wasm_node.agent.containers import connection
from wasm_node.agent.model import ids, image, observed
from wasm_node.protocol import layout, messages, records

log = logging.getLogger(__name__)

Told = TypeVar("Told", messages.Fact, messages.Share)

_ANSWER_S = 30.0
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0


class RuntimeContainers:
    """
    Containers of the runtime that shares this state directory.

    Who asks for facts and `calls_hooks`, as an agent does, is waited for to
    call them once the runtime is told to end.
    """

    def __init__(self, state: Path, socket: Path, *, calls_hooks: bool = False) -> None:
        self._state = state
        self._socket = socket
        self._calls_hooks = calls_hooks
        self._prepared: dict[ids.Digest, bool] = {}
        self._answered: dict[records.AttemptId, observed.Running] = {}
        self._room: messages.Room | None = None
        self._life = ""
        """The runtime's whose facts are known."""

    async def prepare(self, program: image.Program) -> bool:
        """Compile the program, however long it takes; a start does it, too."""
        if program.digest not in self._prepared:
            result = await self._ask(messages.Prepare(str(program.path), program.digest))
            self._prepared[program.digest] = result["kind"] in messages.SERVERS
        return self._prepared[program.digest]

    async def start(self, spec: records.ContainerSpec, *, life: str = "") -> observed.Running:
        """Write the spec down and have it run."""
        try:
            directory = layout.attempt(self._state, layout.checked(spec.id))
        except ValueError as error:
            raise errors.BadInput(str(error), reason="CreateContainerError") from error
        await asyncio.to_thread(_write, directory, spec)
        async with connection.Connection.opened(self._socket) as runtime:
            if life and runtime.life != life:  # NB: who says hello here is who runs it
                text = f"cannot start {spec.id}: the runtime it was meant for is no more"
                raise errors.Outdated(text, reason="RuntimeUnavailable")
            result = await runtime.ask(messages.Start(spec.id))
        fact = messages.Fact.from_message(result["fact"])
        running = _running(fact)
        self._answered[fact.id] = running
        return running

    async def stop(self, attempt: records.AttemptId, *, grace_s: float) -> None:
        """Have the attempt end."""
        await self._ask(messages.Stop(attempt, grace_s), within_s=_ANSWER_S)

    async def execute(
        self,
        attempt: records.AttemptId,
        program: image.Program,
        *,
        export: str,
        streams: interfaces.Streams,
    ) -> records.ExitRecord:
        """Have it run on a connection of its own; hanging up ends it."""
        path, digest = str(program.path), program.digest
        wanted = messages.Exec(attempt, path, digest, program.argv, export)
        async with connection.Connection.opened(self._socket) as runtime:
            given = (streams.stdin, streams.stdout, streams.stderr)
            result = await runtime.ask(wanted, given)
        return records.ExitRecord.from_fields(result["exit"])

    async def forget(self, pod: ids.PodUid) -> None:
        """Drop the pod's records."""
        await self._ask(messages.Forget(pod), within_s=_ANSWER_S)

    async def left(self) -> tuple[messages.Level, messages.Level]:
        """Return how much memory is left, and how many tasks."""
        result = await self._ask(messages.Usage(), within_s=_ANSWER_S)
        return messages.Level(**result["memory"]), messages.Level(**result["tasks"])

    async def shares(self) -> Sequence[messages.Share]:
        """Return what each attempt that runs uses."""

        async def page(after: str) -> list[messages.Share]:
            result = await runtime.ask(messages.Shares(after))
            return [messages.Share.from_message(each) for each in result["shares"]]

        async with (
            connection.Connection.opened(self._socket) as runtime,
            asyncio.timeout(_ANSWER_S),
        ):
            return await _pages(page)

    async def disk(self, pod: ids.PodUid) -> messages.PodDisk:
        """Return what the guests of a pod have written to the disk."""
        result = await self._ask(messages.Disk(pod), within_s=_ANSWER_S)
        try:
            return messages.PodDisk.from_message(result["disk"])
        except ValueError as error:  # a runtime of another version
            raise errors.Retryable(str(error), reason="RuntimeUnavailable") from error

    async def release(self, pod: ids.PodUid) -> None:
        """Remove the volumes of a pod of which nothing runs."""
        await self._ask(messages.Release(pod), within_s=_ANSWER_S)

    async def prune(self) -> int:
        """Remove compiled code whose module is gone."""
        self._prepared.clear()
        result = await self._ask(messages.Prune(), within_s=_ANSWER_S)
        return int(result["freed"])

    def room(self) -> messages.Room | None:
        """Return what the runtime said when facts were last asked for."""
        return self._room

    def life(self) -> str:
        """Return the life of the runtime whose list was taken in last."""
        return self._life

    async def facts(self) -> AsyncIterator[observed.News]:
        """Yield a full list after each connection, then changes."""
        wait = backoff.Backoff(first_s=_FIRST_WAIT_S, most_s=_LONGEST_WAIT_S)
        while True:
            try:
                async with connection.Connection.opened(self._socket) as runtime:
                    self._room = runtime.room
                    yield await self._whole(runtime)
                    self._life = runtime.life  # by now all that was listed is known
                    wait.reset()
                    while True:
                        news = await runtime.next_news()
                        yield observed.Ending() if news is None else _observed(news)
            except errors.NodeError as error:  # of a wrong version, too: it may be replaced
                log.info("Waiting for the runtime: %s", error)
                yield observed.Away(str(error))
            await asyncio.sleep(wait.next_s())

    async def listed(self) -> Sequence[observed.Fact]:
        """
        Return all facts once, in the order of their ids.

        Raises:
            Retryable: the runtime is away.
        """
        async with connection.Connection.opened(self._socket) as runtime:
            return [_observed(each) for each in await _facts(runtime)]

    async def _whole(self, runtime: connection.Connection) -> Sequence[observed.Fact]:
        self._answered.clear()
        await runtime.ask(messages.Subscribe(self._calls_hooks))
        found = {each.id: _observed(each) for each in await _facts(runtime)}
        return list({**self._answered, **found}.values())

    async def _ask(
        self, wanted: messages.Request, *, within_s: float | None = None
    ) -> messages.Result:
        async with (
            connection.Connection.opened(self._socket) as runtime,
            asyncio.timeout(within_s),
        ):
            return await runtime.ask(wanted)


async def _facts(runtime: connection.Connection) -> list[messages.Fact]:
    async def page(after: str) -> list[messages.Fact]:
        result = await runtime.ask(messages.List(after))
        return [messages.Fact.from_message(each) for each in result["facts"]]

    return await _pages(page)


async def _pages(ask: Callable[[str], Awaitable[list[Told]]]) -> list[Told]:
    """Ask for what comes behind the last one told, until there is no more."""
    found: list[Told] = []
    while page := await ask(str(found[-1].id) if found else ""):
        found += page
    return found


def _observed(fact: messages.Fact) -> observed.Fact:
    if fact.exit is not None:
        return observed.Ended(fact.id, fact.exit, fact.denied, fact.earlier)
    return _running(fact)


def _running(fact: messages.Fact) -> observed.Running:
    started_at, stop_by = fact.started_at_ns / 1e9, fact.stop_by_ns / 1e9
    return observed.Running(fact.id, fact.pid, started_at, fact.denied, stop_by, fact.shutdown)


def _write(directory: Path, spec: records.ContainerSpec) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    statedir.write(directory / layout.SPEC, spec.to_json())
