"""What every Prober promises: the fake and the one over sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from tests.fakes.prober import FakeProber
from wasm_node.agent import interfaces
from wasm_node.agent.model import probe
from wasm_node.agent.probes.network import NetworkProber

HOST = "127.0.0.1"
Made = tuple[interfaces.Prober, int, int]


def _asking(port: int, check: type[probe.HttpGet] | type[probe.TcpSocket]) -> probe.Probe:
    return probe.Probe(probe.Kind.READINESS, check(port), 0, 10, 2, 1, 3, None)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.fixture(params=["fake", "real"])
async def made(request: pytest.FixtureRequest) -> AsyncIterator[Made]:
    """Give a Prober, a port that answers and one that nobody has."""
    server = await asyncio.start_server(_answer, HOST, 0)
    with socket.socket() as unheard:
        unheard.bind((HOST, 0))  # bound, but not listening: nobody else gets it
        there, gone = server.sockets[0].getsockname()[1], unheard.getsockname()[1]
        async with server:
            if request.param == "real":
                yield NetworkProber(), there, gone
            else:
                fake = FakeProber()
                why = f"dial tcp {HOST}:{gone}: connect: connection refused"
                fake.outcomes[gone] = probe.Failed(why)
                yield fake, there, gone


@pytest.mark.parametrize("check", [probe.HttpGet, probe.TcpSocket])
async def test_what_answers_passes(
    made: Made, check: type[probe.HttpGet] | type[probe.TcpSocket]
) -> None:
    """A server that is there is an outcome without a word."""
    prober, there, _ = made

    assert probe.Passed() == await prober.probe(_asking(there, check), probe.Endpoint(HOST, there))


@pytest.mark.parametrize("check", [probe.HttpGet, probe.TcpSocket])
async def test_what_is_not_there_fails(
    made: Made, check: type[probe.HttpGet] | type[probe.TcpSocket]
) -> None:
    """Nobody there is an outcome, too, and says where and why."""
    prober, _, gone = made
    outcome = await prober.probe(_asking(gone, check), probe.Endpoint(HOST, gone))

    assert isinstance(outcome, probe.Failed)
    assert outcome.why.endswith(f"dial tcp {HOST}:{gone}: connect: connection refused")


async def test_a_hook_is_done_with_any_answer(made: Made) -> None:
    """Somebody has to be there; what they say counts for nothing."""
    prober, there, gone = made
    outcomes = [
        await prober.call(probe.HttpGet(port), probe.Endpoint(HOST, port), within_s=2.0)
        for port in (there, gone)
    ]

    assert outcomes[0] == probe.Passed()
    assert isinstance(outcomes[1], probe.Failed)


async def test_many_at_once(made: Made) -> None:
    """Each gets its own answer, however many are under way."""
    prober, there, gone = made
    async with asyncio.TaskGroup() as group:
        trials = [
            group.create_task(
                prober.probe(_asking(port, probe.TcpSocket), probe.Endpoint(HOST, port))
            )
            for port in (there, gone) * 20
        ]

    assert [True, False] * 20 == [isinstance(each.result(), probe.Passed) for each in trials]
