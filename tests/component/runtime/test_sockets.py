"""
What guests may do with sockets of their own: the table of docs/network.md.

The guest is Python's own `socket` module inside wasm. Who it talks to is a
program of this host; each row is tried with its grant and without.
"""

import asyncio
import contextlib
import dataclasses
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.component.http import serving
from tests.component.runtime import executing, running
from tests.wasm import guests
from wasm_node.agent.model import observed
from wasm_node.protocol import records

# The first may have to fetch the toolchain; Python takes a while to compile.
pytestmark = pytest.mark.timeout(600)

LOOPBACK = serving.LOOPBACK
DENIED = "PermissionError: [Errno 2] Permission denied"


@pytest.fixture(scope="module")
def runtime() -> Iterator[running.RunningRuntime]:
    """Return a runtime whose engine has sockets."""
    with running.runtime(engine="native") as made:
        yield made


async def _says(runtime: running.RunningRuntime, grants: records.Grants | None, *words: str) -> str:
    """Run the guest to its end and return what it printed."""
    spec = await _spec(runtime, grants, *words)
    await runtime.run(spec)
    return "".join(text for stream, _, text in runtime.log(spec) if stream == "stdout")


async def _spec(
    runtime: running.RunningRuntime, grants: records.Grants | None, *words: str
) -> records.ContainerSpec:
    spec = runtime.spec(guests.path("python-sockets"), *words, pod=f"p{uuid.uuid4()}")
    await runtime.prepared(spec)
    return dataclasses.replace(spec, grants=grants)


@contextlib.asynccontextmanager
async def _echo() -> AsyncIterator[str]:
    """Give back what comes on a TCP and the same UDP port; yield the port."""

    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data, addr)

    async with await asyncio.start_server(back, LOOPBACK, 0) as server:
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(LOOPBACK, port))
        try:
            yield str(port)
        finally:
            transport.close()


@pytest.mark.parametrize("verb", ["connect", "send"])
@pytest.mark.parametrize(
    ("grant", "answer"),
    [
        (None, "denied"),
        ("127.0.0.1:{port}", "ping"),
        ("127.0.0.0/8:*", "ping"),
        ("127.0.0.1:1", "denied"),
        ("127.0.0.2:*", "denied"),
    ],
)
async def test_who_may_be_connected_to(
    runtime: running.RunningRuntime, verb: str, grant: str | None, answer: str
) -> None:
    """TCP and UDP: only what is granted, address and port."""
    async with _echo() as port:
        granted = records.Grants(connect=(grant.format(port=port),)) if grant else None
        said = await _says(runtime, granted, verb, LOOPBACK, port)

    assert said == (answer if answer == "ping" else DENIED)


async def test_a_port_of_its_own(runtime: running.RunningRuntime) -> None:
    """A port that is granted is listened on, and answers who connects."""
    port = serving.free_port()
    spec = await _spec(runtime, records.Grants(listen=(port,)), "listen", str(port))
    await runtime.started(spec)
    running.until(lambda: bool(runtime.log(spec)), "it listens")
    with socket.create_connection((LOOPBACK, port), timeout=running.WITHIN_S) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"

    assert (await runtime.ended(spec.id)).code == 0
    assert [text for _, _, text in runtime.log(spec)] == ["listening", "answered"]


async def test_no_other_port(runtime: running.RunningRuntime) -> None:
    """One that is not granted is not listened on."""
    said = await _says(runtime, records.Grants(listen=(1,)), "listen", str(serving.free_port()))

    assert said == DENIED


@contextlib.asynccontextmanager
async def _interrupted() -> AsyncIterator[tuple[str, str]]:
    """Answer datagrams, each after a stranger's word; yield both's ports."""
    loop = asyncio.get_running_loop()
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((LOOPBACK, 0))

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, _: bytes, addr: Any) -> None:
            stranger.sendto(b"stranger", addr)
            self.transport.sendto(b"friend", addr)

    transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(LOOPBACK, 0))
    try:
        yield str(transport.get_extra_info("sockname")[1]), str(stranger.getsockname()[1])
    finally:
        transport.close()
        stranger.close()


@pytest.mark.parametrize(
    ("grant", "heard"), [("127.0.0.1:{port}", "friend"), ("127.0.0.1:*", "stranger")]
)
async def test_who_is_heard(runtime: running.RunningRuntime, grant: str, heard: str) -> None:
    """Datagrams come from those that it may send to; others' are dropped."""
    async with _interrupted() as (port, stranger):
        granted = records.Grants(connect=(grant.format(port=port),))
        spec = await _spec(runtime, granted, "send", LOOPBACK, port)
        end = await _ended(runtime, spec)

    assert [text for _, _, text in runtime.log(spec)][-1] == heard
    dropped = records.Denial("receive", f"datagrams from {LOOPBACK}:{stranger}")
    assert end.denied == (() if heard == "stranger" else (dropped,))


async def test_everybody_is_heard_on_a_port_of_its_own(runtime: running.RunningRuntime) -> None:
    """Datagrams to a server are questions, whoever asks."""
    port = serving.free_port()
    spec = await _spec(runtime, records.Grants(listen=(port,)), "hear", str(port))
    await runtime.started(spec)
    running.until(lambda: bool(runtime.log(spec)), "it listens")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
        anybody.sendto(b"question", (LOOPBACK, port))
        await runtime.ended(spec.id)

    assert [text for _, _, text in runtime.log(spec)] == ["listening", "question"]


@pytest.mark.parametrize(
    ("dns", "name", "answer"),
    [
        (True, "localhost", LOOPBACK),
        (False, "localhost", "gaierror"),
        (False, LOOPBACK, LOOPBACK),
    ],
)
async def test_names(runtime: running.RunningRuntime, dns: bool, name: str, answer: str) -> None:
    """They are looked up where that is granted; an address is no name."""
    spec = await _spec(runtime, records.Grants(dns=dns), "resolve", name)
    end = await _ended(runtime, spec)
    lines = [text for stream, _, text in runtime.log(spec) if stream == "stdout"]
    denied = records.Denial("resolve", f"looking up {name}")

    assert [each.partition(":")[0] for each in lines] == [answer]
    assert end.denied == ((denied,) if answer == "gaierror" else ())


@pytest.mark.parametrize(
    ("words", "what", "denied"),
    [
        (("connect", LOOPBACK, "9"), "connect", f"connections to {LOOPBACK}:9"),
        (("send", LOOPBACK, "9"), "send", f"datagrams to {LOOPBACK}:9"),
        (("listen", "9"), "listen", "listening on 0.0.0.0:9"),
        (("hear", "9"), "listen", "listening on 0.0.0.0:9"),
        (("resolve", "a.example"), "resolve", "looking up a.example"),
    ],
)
async def test_denials_are_facts(
    runtime: running.RunningRuntime, words: tuple[str, ...], what: str, denied: str
) -> None:
    """What was denied is told with what it was, once, and is in the log."""
    spec = await _spec(runtime, None, *words)
    end = await _ended(runtime, spec)
    lines = [f"{stream} {text}" for stream, _, text in runtime.log(spec)]

    assert end.denied == (records.Denial(what, denied),)
    assert lines.count(f"stderr denied {denied}: the pod's grants do not allow it") == 1


async def test_what_a_command_was_denied_is_told_with_its_container(
    runtime: running.RunningRuntime,
) -> None:
    """While it runs beside it, once, by name; and with the container's end."""
    spec = runtime.spec("sleep", pod=f"p{uuid.uuid4()}")
    await runtime.started(spec)
    check = running.command("python-sockets", "connect", LOOPBACK, "9")
    denied = records.Denial("connect", f"connections to {LOOPBACK}:9", "python-sockets")
    for _ in range(2):
        said = await executing.told(runtime, spec.id, check)
        assert b"denied connections to" in said.err
    (known,) = [each for each in await runtime.containers.listed() if each.id == spec.id]
    await runtime.containers.stop(spec.id, grace_s=0.0)
    facts = [each async for each in _until_ended(runtime, spec.id)]

    assert isinstance(known, observed.Running)
    assert known.denied == facts[-1].denied == (denied,)


async def _ended(runtime: running.RunningRuntime, spec: records.ContainerSpec) -> observed.Ended:
    await runtime.run(spec)
    facts = [each async for each in _until_ended(runtime, spec.id)]
    assert isinstance(facts[-1], observed.Ended)
    return facts[-1]


async def _until_ended(
    runtime: running.RunningRuntime, attempt: records.AttemptId
) -> AsyncIterator[observed.Fact]:
    async with contextlib.aclosing(runtime.facts()) as facts:
        async for fact in facts:
            if fact.id == attempt:
                yield fact
                if isinstance(fact, observed.Ended):
                    return


@pytest.mark.long  # it compiles Python once more
async def test_without_the_native_engine_there_is_none() -> None:
    """With wasmtime's Python binding guests reach nobody and hear nobody."""
    with running.runtime(engine="wasmtime-py") as runtime:
        async with _echo() as port:
            asked = [("connect", LOOPBACK, port), ("send", LOOPBACK, port), ("listen", port)]
            said = [await _says(runtime, None, *words) for words in asked]
        looked_up = await _says(runtime, None, "resolve", "localhost")

    assert said == [DENIED] * 3
    assert looked_up.startswith("gaierror")
