"""Whatever a server says, it is an answer or one of two errors."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.probes import exchange

PARTS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404\n", b"HTTP/1.1 100 Go on\r\n", b"\r\n", b"\n", b"\r",
    b"Content-Length: 3\r\n", b"content-length: 99999999999999999999\r\n", b"Content-Length: x\n",
    b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"ffffffffffff\r\n",
    b"-1\r\n", b": \r\n", b"X:\r\n", b"\xff\x00", b"abc", b"y" * 20_000,
]  # fmt: skip
ANSWERS = st.lists(st.one_of(st.sampled_from(PARTS), st.binary(max_size=20)), max_size=12)


async def _read(pieces: Sequence[bytes]) -> tuple[int, bytes] | str:
    reader = asyncio.StreamReader()

    async def feed() -> None:
        for piece in pieces:
            reader.feed_data(piece)
            await asyncio.sleep(0)
        reader.feed_eof()

    async with asyncio.TaskGroup() as group:
        group.create_task(feed())
        try:
            answer = await exchange.head(reader)
            return answer.status, await exchange.body(reader, answer)
        except (EOFError, exchange.MalformedError) as error:
            return type(error).__name__


@given(pieces=ANSWERS)
def test_it_is_the_same_however_it_is_cut(pieces: list[bytes]) -> None:
    """Its pieces do not matter, and no more is kept than is needed."""
    whole = b"".join(pieces)
    found = asyncio.run(_read(pieces))

    assert found == asyncio.run(_read([whole]))
    if not isinstance(found, str):
        assert 200 <= found[0] <= 999
        assert len(found[1]) <= exchange.BODY_BYTES
