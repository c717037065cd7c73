"""
What workers that serve HTTP are told and asked, each on a socket of its own.

The runtime puts the socket there before the worker begins; an attempt without
one serves no HTTP. Whoever answers shares a process with a guest: its answer is
bounded in size and time, and read as what anybody could have written.
"""

import asyncio
from pathlib import Path

import msgspec

from wasm_node.agent import errors
from wasm_node.agent.model import traffic
from wasm_node.protocol import layout, records

_ANSWER_S = 5.0
_MOST_BYTES = 1 << 16
_TRAFFIC = msgspec.json.Decoder(traffic.Traffic)


class SocketWorkers:
    """HttpWorkers by the sockets below the run directory."""

    def __init__(self, run: Path) -> None:
        self._run = run

    async def set_accepting(self, attempt: records.AttemptId, *, accepting: bool) -> None:
        """Have its worker take connections, or not."""
        told = b"true" if accepting else b"false"
        await self._ask(attempt, "PUT", "/accepting", told)

    async def traffic(self, attempt: records.AttemptId) -> traffic.Traffic | None:
        """Return what its worker has counted; None: it serves no HTTP."""
        answer = await self._ask(attempt, "GET", "/stats", b"")
        if answer is None:
            return None
        try:
            return _TRAFFIC.decode(answer)
        except ValueError as error:
            raise _failed(attempt, "GET /stats", str(error)) from error

    async def _ask(
        self, attempt: records.AttemptId, method: str, target: str, body: bytes
    ) -> bytes | None:
        """Return the body of the answer; None: there is nobody to ask."""
        path = layout.admin_socket(self._run, attempt)
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await _exchange(path, f"{method} {target}", body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:  # a timeout is an OSError, too
            why = str(error) or "it does not answer"
            raise _failed(attempt, f"{method} {target}", why) from error
        head, _, content = answer.partition(b"\r\n\r\n")
        if head[9:10] != b"2":  # HTTP/1.1 204 No Content
            raise _failed(attempt, f"{method} {target}", f"it answered {head[:40]!r}")
        return content


def _failed(attempt: records.AttemptId, what: str, why: str) -> errors.Retryable:
    text = f"cannot ask the worker of {attempt} to {what}: {why}"
    return errors.Retryable(text, reason="RuntimeUnavailable")


async def _exchange(path: Path, what: str, body: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        head = f"{what} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while piece := await reader.read(_MOST_BYTES):
            answer += piece
            if len(answer) > _MOST_BYTES:
                raise ValueError(f"its answer is larger than {_MOST_BYTES} bytes")
        return answer
    finally:
        writer.transport.abort()
