"""
One HTTP/1.1 request and its answer on a connection that ends with it.

A probe asks one question on a connection of its own, thousands of times a
minute; a general client (aiohttp's) was measured to take half as much CPU
again. All that arrives is bounded; of a body only the beginning is read, as by
the kubelet (pkg/probe/http). Which requests are made, and what an answer means,
is `probes.http`.
"""

import asyncio
import dataclasses
import re
from collections.abc import Mapping, Sequence

HEAD_BYTES = 64 * 2**10
BODY_BYTES = 10 * 2**10

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [^\r\n]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
_BAD_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]|^$")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class UnsendableError(Exception):
    """A header of the probe is none, and could be taken for something else."""


class MalformedError(Exception):
    """What arrived is not HTTP/1."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A status, and the headers by their names in lower case."""

    status: int
    headers: Mapping[str, str]


def request(target: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """
    Write a GET.

    Raises:
        UnsendableError: a header could be taken for something else.
    """
    lines = [f"GET {target} HTTP/1.1"]
    for name, value in headers:
        if _BAD_NAME.search(name):
            raise UnsendableError(f"net/http: invalid header field name {name!r}")
        if _BAD_VALUE.search(value):
            raise UnsendableError(f"net/http: invalid header field value for {name!r}")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


async def head(reader: asyncio.StreamReader) -> Answer:
    """
    Read up to the end of the headers, past interim answers.

    Raises:
        MalformedError: it is not HTTP/1, or longer than anybody needs.
        EOFError: the other side has gone.
    """
    while True:
        lines = await _lines(reader)
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise MalformedError(f"malformed HTTP response {lines[0][:80].decode('latin-1')!r}")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise MalformedError(f"malformed MIME header line: {name.strip()[:80]!r}")
            headers.setdefault(name.strip().lower(), value.strip())
        answer = Answer(int(status[1]), headers)
        if answer.status >= 200:
            return answer


async def body(reader: asyncio.StreamReader, answer: Answer) -> bytes:
    """
    Read the body, at most its first BODY_BYTES.

    Raises:
        MalformedError: its length cannot be made out.
        EOFError: it ends before it is whole.
    """
    if answer.status in {204, 304}:
        return b""
    if "chunked" in answer.headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = answer.headers.get("content-length")
    if length is None:
        return await _until_end(reader)
    if _LENGTH.fullmatch(length) is None:
        raise MalformedError(f"bad Content-Length {length[:80]!r}")
    return await reader.readexactly(min(int(length), BODY_BYTES))


async def _lines(reader: asyncio.StreamReader) -> list[bytes]:
    lines: list[bytes] = []
    left = HEAD_BYTES
    while (line := await _line(reader)) not in {b"\r\n", b"\n"}:
        lines.append(line)
        left -= len(line)
        if left < 0:
            raise MalformedError(f"server response headers exceeded {HEAD_BYTES} bytes")
    return lines or [b"\n"]


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readline()
    except ValueError as error:
        raise MalformedError("a line of the response is too long") from error
    if not line.endswith(b"\n"):
        raise EOFError
    return line


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while len(found) < BODY_BYTES:
        line = await _line(reader)
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise MalformedError("invalid byte in chunk length") from error
        if size <= 0:
            break
        found += await reader.readexactly(min(size, BODY_BYTES - len(found)))
        if len(found) < BODY_BYTES:
            await _line(reader)
    return found


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while len(found) < BODY_BYTES and (more := await reader.read(BODY_BYTES - len(found))):
        found += more
    return found
