"""
What workers that serve HTTP are told, each on a socket of its own.

The runtime puts the socket there before the worker begins; an attempt without
one serves no HTTP. Whoever answers shares a process with a guest: its answer is
bounded in size and time.
"""

import asyncio
from pathlib import Path

from wasm_node.agent import errors
from wasm_node.protocol import layout, records

_ANSWER_S = 5.0
_DONE = frozenset({b"200", b"204"})


class SocketWorkers:
    """HttpWorkers by the sockets below the run directory."""

    def __init__(self, run: Path) -> None:
        self._run = run

    async def set_accepting(self, attempt: records.AttemptId, *, accepting: bool) -> None:
        """Have its worker take connections, or not."""
        path = layout.admin_socket(self._run, attempt)
        try:
            async with asyncio.timeout(_ANSWER_S):
                status = await _put(path, "/accepting", b"true" if accepting else b"false")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:  # a timeout is an OSError, too
            raise _untold(attempt, str(error) or "it does not answer") from error
        if status not in _DONE:
            raise _untold(attempt, f"it answered {status.decode('latin-1')!r}")


def _untold(attempt: records.AttemptId, why: str) -> errors.Retryable:
    text = f"cannot tell the worker of {attempt} whether to accept connections: {why}"
    return errors.Retryable(text, reason="RuntimeUnavailable")


async def _put(path: Path, target: str, body: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        head = f"PUT {target} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return (await reader.readline())[9:12]  # HTTP/1.1 204 No Content
    finally:
        writer.transport.abort()
