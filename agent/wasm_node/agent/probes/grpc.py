"""
grpc: passes when grpc.health.v1.Health/Check answers SERVING.

Rules and words are the kubelet's (pkg/probe/grpc). It dials until its timeout,
as grpc-go does for it: there is a connection once the other side has said hello
in HTTP/2, whatever was refused before that.
"""

import asyncio
import contextlib
import dataclasses

from wasm_node.agent.model import durations, probe
from wasm_node.agent.probes import dialing, health, unary

_AGENT = "kube-probe/1.37"
_METHOD = "/grpc.health.v1.Health/Check"
_DIAL_AGAIN_S = 1.0
_CHUNK_BYTES = 2**16
_LACKING = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"


async def check(wanted: probe.Grpc, at: probe.Endpoint, timeout_s: float) -> probe.Outcome:
    """Ask a server how it is."""
    where, within = dialing.shown(at), durations.shown(timeout_s)
    message = health.request(wanted.service)
    asked = unary.Request(where, _METHOD, _AGENT, message, timeout_s)
    connected = False
    try:
        async with asyncio.timeout(timeout_s):
            line = await _dial(at)
            connected = True
            status = await _answer(line, asked)
    except TimeoutError:
        if connected:
            return probe.Failed(f"timeout: health rpc did not complete within {within}")
        why = "context deadline exceeded"
        return probe.Failed(f'timeout: failed to connect service "{where}" within {within}: {why}')
    except unary.RpcError as error:
        return probe.Failed(_said(error, within))
    if status != "SERVING":
        return probe.Failed(f'service unhealthy (responded with "{status}")')
    return probe.Passed()


@dataclasses.dataclass(frozen=True)
class _Line:
    """A connection and the call on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    call: unary.Call

    async def hear(self) -> None:
        """Take in the next piece."""
        data = await self.reader.read(_CHUNK_BYTES)
        if not data:
            raise EOFError("EOF")
        self.writer.write(self.call.receive(data))

    def hang_up(self) -> None:
        self.writer.transport.abort()  # nobody waits for a goodbye


async def _dial(at: probe.Endpoint) -> _Line:
    refused = dialing.UnreachableError, unary.NotHttp2Error, unary.RpcError, EOFError, OSError
    while True:
        with contextlib.suppress(*refused):
            return await _greet(at)
        await asyncio.sleep(_DIAL_AGAIN_S)


async def _greet(at: probe.Endpoint) -> _Line:
    line = _Line(*await dialing.connect(at), unary.Call())
    try:
        line.writer.write(line.call.hello())
        while not line.call.ready:
            await line.hear()
    except BaseException:
        line.hang_up()
        raise
    return line


async def _answer(line: _Line, asked: unary.Request) -> str:
    try:
        line.writer.write(line.call.ask(asked))
        while line.call.reply is None:
            await line.hear()
    except (EOFError, unary.NotHttp2Error) as error:
        raise _broken(str(error)) from error
    except OSError as error:
        raise _broken(dialing.why(error)) from error
    finally:
        line.hang_up()
    try:
        return health.status(line.call.reply)
    except ValueError as error:
        text = f"grpc: failed to unmarshal the received message: proto: {error}"
        raise unary.RpcError(unary.Code.Internal, text) from error


def _broken(why: str) -> unary.RpcError:
    return unary.RpcError(unary.Code.Unavailable, f"error reading from server: {why}")


def _said(error: unary.RpcError, within: str) -> str:
    match error.code:
        case unary.Code.Unimplemented:
            return f"error: {_LACKING}: {error.message}"
        case unary.Code.DeadlineExceeded:
            return f"timeout: health rpc did not complete within {within}"
        case _:
            return f"error: health rpc probe failed: {error}"
