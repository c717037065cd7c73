"""What every HttpWorkers promises: the fake and the one over sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from tests.fakes.workers import FakeWorkers
from wasm_node.agent import errors, interfaces
from wasm_node.agent.containers.workers import SocketWorkers
from wasm_node.agent.model import traffic
from wasm_node.protocol import layout, records

SERVES = records.AttemptId("u1", "serves", 0)
DEAF = records.AttemptId("u1", "deaf", 0)
COMMAND = records.AttemptId("u1", "command", 0)
COUNTED = {
    "requests": {"2xx": 3, "5xx": 1},
    "durations": {"buckets": [[0.005, 2], [10.0, 4]], "sum": 1.5, "count": 4},
    "in_flight": 1,
    "instances": 5,
    "live_instances": 2,
    "traps": 1,
    "timeouts": 0,
    "denied": 0,
    "denied_outgoing": 7,
    "connections": 1,
    "connections_made": 9,
}
"""As an engine tells them."""
Made = tuple[interfaces.HttpWorkers, Callable[[], bool]]


@contextlib.asynccontextmanager
async def _worker(path: Path, status: int, told: list[str]) -> AsyncIterator[None]:
    """Serve one admin socket as a worker does; its engine has tests of it."""

    async def accepting(request: web.Request) -> web.Response:
        told.append(await request.text())
        return web.Response(status=status)

    async def stats(_: web.Request) -> web.Response:
        return web.json_response(COUNTED, status=200 if status == 204 else status)

    application = web.Application()
    application.router.add_get("/stats", stats)
    application.router.add_put("/accepting", accepting)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()


@pytest.fixture(params=["fake", "real"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Made]:
    """Give HttpWorkers, and what says if SERVES accepts."""
    if request.param == "fake":
        fake = FakeWorkers()
        fake.accepting[SERVES] = False
        fake.counted[SERVES] = msgspec.convert(COUNTED, traffic.Traffic)
        fake.deaf.add(DEAF)
        yield fake, lambda: fake.accepting[SERVES]
        return
    (tmp_path / layout.WORKERS).mkdir()
    told = ["false"]
    async with (
        _worker(layout.admin_socket(tmp_path, SERVES), 204, told),
        _worker(layout.admin_socket(tmp_path, DEAF), 500, []),
    ):
        yield SocketWorkers(tmp_path), lambda: told[-1] == "true"


async def test_it_accepts_and_stops(made: Made) -> None:
    """A worker does what it was told last, however often."""
    workers, accepts = made
    for accepting in (True, True, False, False, True):
        await workers.set_accepting(SERVES, accepting=accepting)

        assert accepts() is accepting


async def test_one_that_serves_no_http_is_no_error(made: Made) -> None:
    """There is nothing to tell, and that is fine."""
    workers, accepts = made
    await workers.set_accepting(COMMAND, accepting=True)

    assert not accepts()


async def test_one_that_cannot_be_told_is(made: Made) -> None:
    """It names the attempt, and may be tried again."""
    workers, _ = made
    with pytest.raises(errors.Retryable, match="u1/deaf/0"):
        await workers.set_accepting(DEAF, accepting=True)


async def test_what_it_has_counted(made: Made) -> None:
    """A worker's own figures; none of one that serves no HTTP."""
    workers, _ = made
    counted = await workers.traffic(SERVES)

    assert msgspec.json.decode(msgspec.json.encode(counted)) == COUNTED
    assert await workers.traffic(COMMAND) is None


async def test_one_that_does_not_tell(made: Made) -> None:
    """It names the attempt, and may be asked again."""
    workers, _ = made
    with pytest.raises(errors.Retryable, match="u1/deaf/0"):
        await workers.traffic(DEAF)


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"HTTP/1.1 204\n" + b"x" * 200_000])
async def test_whatever_answers_is_bounded(tmp_path: Path, answer: bytes) -> None:
    """A worker that a guest has taken over can say what it wants."""
    (tmp_path / layout.WORKERS).mkdir()
    served: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.readuntil(b"\r\n\r\ntrue"))
        with contextlib.suppress(OSError):
            writer.write(answer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        over.set()

    path = layout.admin_socket(tmp_path, SERVES)
    async with await asyncio.start_unix_server(serve, path):
        with pytest.raises(errors.Retryable):
            await SocketWorkers(tmp_path).set_accepting(SERVES, accepting=True)
        await over.wait()

    assert served[0].startswith(b"PUT /accepting HTTP/1.1\r\n")
