"""tcpSocket against real sockets, after pkg/probe/tcp of Kubernetes 1.37."""

import asyncio
import socket
from pathlib import Path

from wasm_node.agent.model import probe
from wasm_node.agent.probes.network import NetworkProber


async def _knock(at: probe.Endpoint, timeout_s: float = 10.0) -> probe.Outcome:
    check = probe.TcpSocket(at.port)
    wanted = probe.Probe(probe.Kind.LIVENESS, check, 0, 10, timeout_s, 1, 3, None)
    return await NetworkProber().probe(wanted, at)


async def test_a_connection_is_enough() -> None:
    """It passes by connecting, says nothing, and hangs up."""
    got: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.close()
        await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(serve, "::1", 0) as server:
        outcome = await _knock(probe.Endpoint("::1", server.sockets[0].getsockname()[1]))
        await over.wait()

    assert (probe.Passed(), [b""]) == (outcome, got)


async def test_a_full_backlog_is_a_timeout() -> None:
    """Who does not take connections in time has failed, in Go's words."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        at = probe.Endpoint("127.0.0.1", server.getsockname()[1])
        with socket.create_connection(server.getsockname()):
            outcome = await _knock(at, timeout_s=0.1)

    assert probe.Failed(f"dial tcp 127.0.0.1:{at.port}: i/o timeout") == outcome


async def test_a_socket_is_one_too(tmp_path: Path) -> None:
    """A container that is reached by a unix socket is knocked at there."""
    path = tmp_path / "guest"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert probe.Passed() == await _knock(probe.Endpoint("10.0.0.2", 80, path))
    gone = await _knock(probe.Endpoint("10.0.0.2", 80, path))

    assert probe.Failed("dial tcp 10.0.0.2:80: connect: connection refused") == gone
