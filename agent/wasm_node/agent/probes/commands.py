"""
exec: passes when a command, run inside of the container, ends with 0.

The rules are the kubelet's (pkg/probe/exec; prober.go; ExecProbeTimeout), and
so are the words of a timeout. What cannot be run at all says nothing about the
container; the kubelet throws such a result away, and tells it.

A command is a process: forked, locked down, instantiated. Of those that have
just begun there are few at a time, so that a thousand probes which fall due
together do not stand in each other's way; one that takes longer lets the next
begin, so that nobody waits for it.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Sequence

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import image
from wasm_node.agent.model import probe as probe_model
from wasm_node.protocol import records

KEPT_BYTES = 10 * 2**10
"""Of what a command writes: as much as the kubelet keeps."""

_BEGINNING_S = 1.0
_BEGINNING = 16
_DROPPED_BYTES = 16 * 2**20
"""After so much its output is closed, as it does not end."""
_PIECE_BYTES = 2**16


class ContainerCommands:
    """Commands by the runtime that runs the containers."""

    def __init__(self, programs: interfaces.Programs, containers: interfaces.Containers) -> None:
        self._programs = programs
        self._containers = containers
        self._beginning = asyncio.Semaphore(_BEGINNING)

    async def call(
        self, wanted: probe_model.Exec, attempt: records.AttemptId, *, within_s: float
    ) -> probe_model.Outcome:
        """Carry out the exec of a hook."""
        try:
            async with asyncio.timeout(None if within_s == float("inf") else within_s):
                return await self._carry_out(wanted, attempt, None)
        except TimeoutError:
            return late(wanted.command, within_s)

    async def probe(
        self, wanted: probe_model.Probe, attempt: records.AttemptId
    ) -> probe_model.Outcome:
        """Carry out one check."""
        if not isinstance(wanted.check, probe_model.Exec):
            raise TypeError(f"no command: {wanted.check!r}")
        return await self._carry_out(wanted.check, attempt, wanted.timeout_s)

    async def _carry_out(
        self, wanted: probe_model.Exec, attempt: records.AttemptId, timeout_s: float | None
    ) -> probe_model.Outcome:
        try:
            found = await self._programs.find(attempt, wanted.command)
            await self._containers.prepare(found.program)  # at the first time only
            async with self._turn():
                return await self._run(found, attempt, timeout_s)
        except errors.NodeError as error:
            return probe_model.Unclear(str(error))

    async def _run(
        self, found: image.Command, attempt: records.AttemptId, timeout_s: float | None
    ) -> probe_model.Outcome:
        with _Output() as output:
            try:
                async with asyncio.timeout(timeout_s):
                    ended = await self._containers.execute(
                        attempt, found.program, export=found.export, streams=output.streams
                    )
            except TimeoutError:
                return late(found.program.argv, timeout_s or 0.0)
            said = output.text()
            outcome = judged(ended, said)
            if timeout_s is None and isinstance(outcome, probe_model.Failed):  # of a hook
                words = " ".join(found.program.argv)
                text = f"command '{words}' exited with {ended.code}: {said or ended.message}"
                return probe_model.Failed(text)
            return outcome

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait while too many have just begun."""
        await self._beginning.acquire()
        over = contextlib.ExitStack()
        over.callback(self._beginning.release)
        timer = asyncio.get_running_loop().call_later(_BEGINNING_S, over.close)
        try:
            yield
        finally:
            timer.cancel()
            over.close()  # a second time it does nothing


class _Output:
    """
    What a command writes: the beginning of it is kept, the rest read past.

    Standard output and standard error are one stream, in the order in which
    they were written; there is nothing to read for the command.
    """

    def __init__(self) -> None:
        self._kept = b""
        self._dropped = 0

    def __enter__(self) -> "_Output":
        with contextlib.ExitStack() as stack:
            nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, nothing)
            self._source, sink = os.pipe2(os.O_CLOEXEC)
            stack.callback(os.close, sink)
            self._end = contextlib.ExitStack()
            self._end.callback(os.close, self._source)
            os.set_blocking(self._source, False)
            loop = asyncio.get_running_loop()
            loop.add_reader(self._source, self._read)
            self._end.callback(loop.remove_reader, self._source)
            self._ours = stack.pop_all()
        self.streams = interfaces.Streams(nothing, sink, sink)
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._end.close()

    def text(self) -> str:
        """Return the beginning of what was written; after the command's end."""
        self._ours.close()
        while self._read():
            pass
        return self._kept.decode(errors="replace")

    def _read(self) -> bool:
        """Take one piece; False: there is none."""
        if self._dropped > _DROPPED_BYTES:
            self._end.close()
            return False
        try:
            piece = os.read(self._source, _PIECE_BYTES)
        except BlockingIOError:
            return False
        self._kept += piece[: KEPT_BYTES - len(self._kept)]
        self._dropped += len(piece)
        return bool(piece)


def judged(ended: records.ExitRecord, output: str) -> probe_model.Outcome:
    """Say what the end of a command shows, with what it wrote."""
    match ended.ended_by:
        case records.EndedBy.NEVER_STARTED:
            return probe_model.Unclear(ended.message or "the command could not be started")
        case records.EndedBy.STOP | records.EndedBy.UNKNOWN:
            return probe_model.Unclear(ended.message or "the command ended with its container")
        case _:
            return (
                probe_model.Passed()
                if ended.code == 0
                else probe_model.Failed(output or ended.message)
            )


def late(command: Sequence[str], after_s: float) -> probe_model.Failed:
    """Fail in the words of cri-client's ErrCommandTimedOut."""
    said = json.dumps(" ".join(command), ensure_ascii=False)
    return probe_model.Failed(f"command timed out: {said} timed out after {_span(after_s)}")


def _span(seconds: float) -> str:
    """Return whole seconds as Go's time.Duration shows them."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{shown}{rest}s"
