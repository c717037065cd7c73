"""Who only connects holds nothing for long, and not everything."""

import asyncio

import aiohttp
import pytest

from tests.component.server.conftest import Client, Node
from wasm_node.agent.server import kubelet


async def test_a_handshake_that_never_comes_is_cut_off(unstarted: Node) -> None:
    """A connection that does not even begin TLS ends too."""
    async with unstarted.make_server(silent_s=0.05).run() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("first_words", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_silence_before_the_first_request_ends(unstarted: Node, first_words: bytes) -> None:
    """A connection whose first request never comes, or never ends, is cut."""
    server = unstarted.make_server(silent_s=0.05)
    with unstarted.news:
        async with server.run() as port:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=unstarted.tls(), server_hostname="127.0.0.1"
            )
            writer.write(first_words)
            with pytest.raises((ConnectionError, EOFError)):
                await reader.readexactly(1)
            writer.close()


async def test_a_client_that_asked_may_be_silent(unstarted: Node) -> None:
    """A quiet follow outlives the time that a first request may take."""
    server = unstarted.make_server(silent_s=0.05)
    with unstarted.news:
        async with server.run() as unstarted.port, aiohttp.ClientSession() as session:
            follow = await session.get(unstarted.url() + "?follow=true", ssl=unstarted.tls())
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", unstarted.port, ssl=unstarted.tls()
            )
            assert await reader.read() == b""  # a later and silent one is cut off first
            writer.close()
            unstarted.write(b"still here")
            assert await follow.content.readline() == b"still here\n"
            follow.close()


async def test_connections_beyond_the_bound_are_cut_off(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all places are taken by the silent, the next is not even heard."""
    monkeypatch.setattr(kubelet, "_OTHER_CONNECTIONS", 2)
    server = client.node.make_server(most_streams=0)
    async with server.run() as client.node.port:
        held = [
            await asyncio.open_connection("127.0.0.1", client.node.port, ssl=client.context)
            for _ in range(2)
        ]
        with pytest.raises(aiohttp.ClientError):
            await client.get()
        for _, writer in held:
            writer.close()
