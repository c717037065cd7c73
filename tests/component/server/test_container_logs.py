"""`kubectl logs` over a real connection: what it shows, and what it leaves."""

import asyncio
import contextlib
import gc
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.component.server.conftest import WEB, Client, Node, figures, until
from wasm_node.agent import errors
from wasm_node.agent.model.log_options import LogOptions
from wasm_node.agent.server import kubelet

WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for n in range(int(sys.argv[2])):
    os.write(fd, b"2026-11-22T12:00:00.%09dZ stdout F line %d\\n" % (n, n))
"""


def open_descriptors(log: Path) -> int:
    """Count this process's descriptors of one file."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += each.readlink() == log
    return found


async def test_a_log_is_shown(client: Client) -> None:
    """All of the log so far comes back as plain text."""
    client.node.write(b"one", b"two")

    async with client.session.get(client.node.url(), ssl=client.context) as answer:
        assert answer.content_type == "text/plain"
        assert await answer.read() == b"one\ntwo\n"


async def test_every_parameter_reaches_the_log(client: Client) -> None:
    """Options of the query show in the answer."""
    client.node.write(b"one", b"two", b"three")
    query = "?tailLines=2&timestamps=true&limitBytes=34&sinceTime=2026-11-22T12:00:00Z"

    answer = await client.get("/containerLogs/default/web/main" + query)

    assert answer.text == "2026-11-22T12:00:00.000000000Z two"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/default/none/main", 404, 'pod "none" does not exist'),
        ("/other/web/main", 404, 'pod "web" does not exist'),
        ("/default/web/side", 404, 'container "side" not found in pod "web"'),
        (
            "/default/web/slow",
            400,
            'container "slow" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            "/default/web/main?previous=true",
            400,
            'previous terminated container "main" in pod "web" not found',
        ),
        (
            "/default/web/main?tailLines=x",
            400,
            "Unable to decode query: tailLines is 'x', not a 64-bit integer.",
        ),
        (
            "/default/web/main?limitBytes=0",
            422,
            "Invalid request: limitBytes is 0: must be greater than 0.",
        ),
    ],
)
async def test_refusals_say_why(client: Client, path: str, status: int, text: str) -> None:
    """Each refusal has the kubelet's status and words."""
    answer = await client.get("/containerLogs" + path)

    assert (answer.status, answer.text) == (status, text)


async def test_a_log_that_is_gone_is_not_found(client: Client) -> None:
    """A running container whose file was deleted says which file is missing."""
    await asyncio.to_thread(client.node.logs.remove, WEB)

    answer = await client.get()

    assert answer.status == 404
    assert "there is no such file" in answer.text


async def test_a_writing_process_is_followed_to_its_end(client: Client) -> None:
    """Every line another process writes arrives once, and then an end."""
    count = 5_000
    async with client.session.get(client.node.url() + "?follow=true", ssl=client.context) as answer:
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, client.node.log, str(count)
        )
        await writer.wait()
        client.node.end()
        text = await answer.read()

    assert text == b"".join(b"line %d\n" % each for each in range(count))


async def test_the_answer_to_a_follow_begins_at_once(client: Client) -> None:
    """Where nothing is written yet, the status arrives before any line."""
    async with client.session.get(client.node.url() + "?follow=true", ssl=client.context) as answer:
        assert answer.status == 200
        client.node.write(b"first")
        assert await answer.content.readline() == b"first\n"


async def test_a_client_that_leaves_frees_its_file(client: Client) -> None:
    """A follow whose client goes away is over, file and stream slot too."""
    client.node.write(b"one")
    answer = await client.session.get(client.node.url() + "?follow=true", ssl=client.context)
    await answer.content.readline()
    followed = open_descriptors(client.node.log)
    answer.close()
    await until(lambda: "Streams 0 of" in repr(client.node.server))

    assert followed == 1
    assert open_descriptors(client.node.log) == 0
    assert repr(client.node.news) == "<Changes 0 directories, 0 followers>"


class EndlessLogs:
    """A log without an end, that counts what is taken of it."""

    def __init__(self) -> None:
        self.taken_bytes = 0

    @contextlib.asynccontextmanager
    async def open(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a log that never ends."""
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            self.taken_bytes += 65536
            yield bytes(65536)


async def test_a_client_that_does_not_read_stops_the_reading(unstarted: Node) -> None:
    """Of an endless log no more is taken than the sockets' buffers hold."""
    logs = EndlessLogs()
    server = kubelet.KubeletServer(unstarted.files, "wasm-1", unstarted.reviewer, logs, figures)
    async with server.run() as unstarted.port, aiohttp.ClientSession() as session:
        answer = await session.get(unstarted.url(), ssl=unstarted.tls())
        await answer.content.readexactly(1)
        quiet_rounds, seen = 0, 0
        while quiet_rounds < 1000:
            await asyncio.sleep(0)
            quiet_rounds = quiet_rounds + 1 if logs.taken_bytes == seen else 0
            seen = logs.taken_bytes
        answer.close()

    assert seen < 16 * 2**20


class BreakingLogs:
    """A log that breaks after its first line."""

    @contextlib.asynccontextmanager
    async def open(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a log that breaks."""
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"one\n"
        raise errors.Retryable("the disk is on fire", reason="LogUnreadable")


async def test_a_log_that_breaks_does_not_look_complete(unstarted: Node) -> None:
    """An answer that cannot go on is cut off, not ended."""
    server = kubelet.KubeletServer(
        unstarted.files, "wasm-1", unstarted.reviewer, BreakingLogs(), figures
    )
    async with server.run() as unstarted.port, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientPayloadError):
            await (await session.get(unstarted.url(), ssl=unstarted.tls())).read()


async def test_streams_beyond_the_limit_are_refused(unstarted: Node) -> None:
    """One more follower than may be is 429; when one leaves, there is room."""
    server = unstarted.make_server(most_streams=2)
    with unstarted.news:
        async with server.run() as unstarted.port, aiohttp.ClientSession() as session:
            tls = unstarted.tls()
            url = unstarted.url() + "?follow=true"
            held = [await session.get(url, ssl=tls) for _ in range(2)]
            async with session.get(url, ssl=tls) as refused:
                assert refused.status == 429
                assert await refused.text() == (
                    "cannot stream: 2 streams are open on this node; end some\n"
                )
            held[0].close()
            await until(lambda: "Streams 1 of" in repr(server))
            async with session.get(unstarted.url(), ssl=tls) as accepted:
                assert accepted.status == 200
            held[1].close()


async def test_an_ending_server_cuts_its_streams(unstarted: Node) -> None:
    """Leaving the server ends all follows soon, and frees their files."""
    with unstarted.news:
        async with aiohttp.ClientSession() as session:
            async with unstarted.server.run() as unstarted.port:
                answer = await session.get(unstarted.url() + "?follow=true", ssl=unstarted.tls())
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()

    assert open_descriptors(unstarted.log) == 0


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Allow this process as many descriptors as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("many_descriptors")
async def test_a_thousand_followers(client: Client) -> None:
    """A thousand follow one log, each sees each line, and nothing is left."""
    begun = asyncio.Barrier(1001)

    async def follow() -> bytes:
        async with client.session.get(
            client.node.url() + "?follow=true",
            ssl=client.context,
            timeout=aiohttp.ClientTimeout(sock_connect=None),  # a thousand handshakes take long
        ) as answer:
            first = await answer.content.readline()
            await begun.wait()
            return first + await answer.read()

    client.node.write(b"begin")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow()) for _ in range(1000)]
        await begun.wait()
        followed = open_descriptors(client.node.log)
        for each in range(10):
            client.node.write(b"%d" % each)
        client.node.end()
    await until(lambda: "Streams 0 of" in repr(client.node.server))
    gc.collect()

    expected = b"begin\n" + b"".join(b"%d\n" % each for each in range(10))
    assert {expected} == {each.result() for each in tasks}
    assert followed == 1000
    assert open_descriptors(client.node.log) == 0
