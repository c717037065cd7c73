"""
The ledger: each run of a guest says here that it is, and is told how to end.

A guest connects, says which pod and container it is and a number of its own,
and ends with the code that it is told; what it is told is on the record before
it hears it. Its connection is the kernel's word: it ends when the process
does. Who that process is, the kernel's tables say. Nothing of that goes through
the node's code, but the guest itself.

What a run is to do stands in its script, a word of its pod's: `KEY:STEP,...`.
The runs of one KEY take the steps one after another, and the last for ever
after. A step is `CODE@MS`, or `on` for ever. A guest that serves HTTP asks by
`GET /UID/NAME/CONTAINER` and is only known to be.

A hook or a check of a container is a guest, too: it says `CONTAINER!WHAT`, and
is written down as a command. Its script has no KEY: those of the same container
of a pod take its steps.
"""

import asyncio
import collections
import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

from e2e.chaos import background, machine
from e2e.chaos.recording import Command, Process, Run

Line = TypeVar("Line", Run, Command)
_Change: TypeAlias = Callable[..., None]

_FOR_EVER = "on"
_RECENT_S = 10.0
"""Whose connection ended longer ago is not asked after any more."""


class Ledger:
    """Writes runs down; `runs` may be asked by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._runs: list[Run] = []
        self._commands: list[Command] = []
        self._steps: collections.Counter[str] = collections.Counter()
        self._serving: dict[Process, int] = {}
        self.port = 0
        self.calm = False
        """Whether what begins from now on is to run for ever."""

    def runs(self) -> tuple[Run, ...]:
        """Return all runs so far, in the order in which they began."""
        with self._lock:
            return tuple(self._runs)

    def commands(self) -> tuple[Command, ...]:
        """Return all hooks and checks so far, in their order."""
        with self._lock:
            return tuple(self._commands)

    async def open(self) -> asyncio.Server:
        """Listen on a port of loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            line = (await reader.readline()).decode()
            process = machine.peer(self.port, writer.get_extra_info("peername")[1])
            if line.startswith("GET "):
                self._asked(line.split()[1], process)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            elif line:
                await self._ran(line, process, reader, writer)

    async def _ran(
        self,
        line: str,
        process: Process | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        uid, pod, name, script, *read, nonce = line.split()
        container, _, what = name.partition("!")
        now = time.monotonic()
        if what:
            born = machine.born(process) if process else now
            made = Command(uid, pod, container, what, nonce, process, born, now)
            change = self._add(made)
        else:
            run = Run(uid, pod, container, nonce, process, now, read="".join(read))
            change = self._begin(run)
        step = self._next(f"{uid}/{name}{script}" if what else script)
        try:
            if step != _FOR_EVER:
                code, _, ms = step.partition("@")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(int(ms) / 1000):
                        await reader.read(1)
                        return
                change(told=int(code))
                writer.write(f"{code}\n".encode())
            await reader.read(1)
        finally:
            change(ended=time.monotonic())

    def _next(self, script: str) -> str:
        key, _, steps = script.partition(":")
        listed = steps.split(",")
        number = self._steps[key]
        self._steps[key] += 1
        step = listed[min(number, len(listed) - 1)]
        return _FOR_EVER if self.calm and key.startswith("loop") else step

    def _asked(self, path: str, process: Process | None) -> None:
        _, uid, namespace, name, container = path.split("/")
        if process is None or process in self._serving:
            return
        nonce = f"{process.pid}-{process.began_ticks}"
        run = Run(uid, f"{namespace}/{name}", container, nonce, process, time.monotonic())
        change = self._begin(dataclasses.replace(run, serves=True))
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            change(ended=time.monotonic())
            return
        self._serving[process] = pidfd

        def ended() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            change(ended=time.monotonic())

        self._loop.add_reader(pidfd, ended)

    def _begin(self, run: Run) -> _Change:
        with self._lock:
            beside = tuple(
                each.nonce
                for each in self._runs
                if (each.uid, each.container) == (run.uid, run.container)
                and (each.ended is None or run.began - each.ended < _RECENT_S)
                and each.process is not None
                and machine.is_alive(each.process)
            )
            return self._put(self._runs, dataclasses.replace(run, beside=beside))

    def _add(self, command: Command) -> _Change:
        with self._lock:
            return self._put(self._commands, command)

    def _put(self, listed: list[Line], line: Line) -> _Change:
        """Write a line; return what changes fields of it."""
        index = len(listed)
        listed.append(line)

        def change(**fields: float) -> None:
            with self._lock:
                listed[index] = dataclasses.replace(listed[index], **fields)  # type: ignore[arg-type]

        return change


@contextlib.contextmanager
def running(beside: background.Background) -> Iterator[Ledger]:
    """Give a ledger that is open."""
    made = Ledger(beside.loop)
    server = beside.call(made.open())
    try:
        yield made
    finally:
        beside.loop.call_soon_threadsafe(server.close)
