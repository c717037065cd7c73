"""Programs beside attempts of a real runtime, as tests ask for them."""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.component.runtime import running
from tests.component.runtime.running import RunningRuntime
from wasm_node.agent import interfaces
from wasm_node.agent.model import image
from wasm_node.protocol import layout, records

PIPE_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class Said:
    """What came of a program: its end, and what it wrote."""

    how: records.ExitRecord
    out: bytes
    err: bytes


async def told(
    runtime: RunningRuntime,
    attempt: records.AttemptId,
    program: image.Program,
    *,
    export: str = "",
    stdin: bytes = b"",
) -> Said:
    """Run a program beside an attempt and read all that it says."""
    async with asyncio.timeout(running.WITHIN_S), asyncio.TaskGroup() as group:
        ends = [os.pipe() for _ in range(3)]
        given = interfaces.Streams(ends[0][0], ends[1][1], ends[2][1])
        try:
            group.create_task(asyncio.to_thread(_write, ends[0][1], stdin))
            out, err = (group.create_task(asyncio.to_thread(_read, each[0])) for each in ends[1:])
            how = await running.patiently(
                lambda: runtime.containers.execute(attempt, program, export=export, streams=given)
            )
        finally:
            for fd in dataclasses.astuple(given):
                os.close(fd)
    return Said(how, out.result(), err.result())


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(fd, "wb", buffering=0) as sink:
        while data:
            data = data[sink.write(data) :]


def _read(fd: int) -> bytes:
    with open(fd, "rb") as source:
        return source.read()


class Live:
    """A program that goes on while the test talks to it."""

    def __init__(self, task: asyncio.Task[records.ExitRecord], stdin: int, stdout: int) -> None:
        self.task = task
        self.stdin = stdin
        self.stdout = stdout

    async def read(self, size: int = PIPE_BYTES) -> bytes:
        """Return what it has written, once there is something."""
        async with asyncio.timeout(running.WITHIN_S):
            return await asyncio.to_thread(os.read, self.stdout, size)

    async def end(self) -> records.ExitRecord:
        """Wait for its end."""
        async with asyncio.timeout(running.WITHIN_S):
            return await self.task


@contextlib.asynccontextmanager
async def live(
    runtime: RunningRuntime, attempt: records.AttemptId, program: image.Program
) -> AsyncIterator[Live]:
    """Run a program for the length of the context; then nobody wants it."""
    (stdin, feed), (stdout, given) = os.pipe(), os.pipe()
    streams = interfaces.Streams(stdin, given, given)
    execute = runtime.containers.execute(attempt, program, export="", streams=streams)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(execute)
        try:
            yield Live(task, feed, stdout)
        finally:
            task.cancel()
            for fd in (stdin, stdout, given):
                os.close(fd)
            with contextlib.suppress(OSError):  # the test may have closed it
                os.close(feed)


def workers(runtime: RunningRuntime, kind: str = "exec:main") -> set[int]:
    """Return the processes of programs beside attempts."""
    assert runtime.process is not None
    found = running.children(runtime.process.pid)
    return {pid for pid in found if running.comm(pid) == kind and running.is_process(pid)}


def left(runtime: RunningRuntime) -> list[Path]:
    """Return what is on record of programs beside attempts."""
    return list((runtime.settings.run / layout.EXECS).iterdir())
