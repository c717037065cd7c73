"""Certificates are replaced under a serving node, without a break."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
import trustme

from tests.component.server.conftest import Node
from wasm_node.agent import errors
from wasm_node.agent.server import kubelet, tls


async def serial(session: aiohttp.ClientSession, node: Node, context: ssl.SSLContext) -> str:
    """Ask for something over a new connection; return the server's serial."""
    async with session.get(node.url(), ssl=context) as answer:
        assert answer.status == 200
        assert answer.connection is not None
        transport = answer.connection.transport
        assert transport is not None
        return str(transport.get_extra_info("peercert")["serialNumber"])


@contextlib.asynccontextmanager
async def _following(server: kubelet.KubeletServer) -> AsyncIterator[None]:
    """Have changed files taken over meanwhile."""
    async with asyncio.TaskGroup() as group:
        following = group.create_task(server.follow_files())
        yield
        following.cancel()


async def test_a_new_certificate_serves_new_connections(unstarted: Node) -> None:
    """A follow goes on over the old one, while others get the new one."""
    server = unstarted.make_server(reload_s=0.01)
    context = unstarted.tls()
    connector = aiohttp.TCPConnector(force_close=True)
    with unstarted.news:
        async with (
            server.run() as unstarted.port,
            _following(server),
            aiohttp.ClientSession(connector=connector) as session,
        ):
            follow = await session.get(unstarted.url() + "?follow=true", ssl=context)
            before = await serial(session, unstarted, context)
            unstarted.issue()
            after = before
            while after == before:  # the test's timeout is the deadline
                after = await serial(session, unstarted, context)
            unstarted.write(b"still here")
            assert await follow.content.readline() == b"still here\n"
            follow.close()


async def test_a_client_authority_taken_out_counts_no_longer(unstarted: Node) -> None:
    """After a change of the client CA, the old one's clients are refused."""
    server = unstarted.make_server(reload_s=0.01)
    old, new_authority = unstarted.tls(), trustme.CA()
    new = unstarted.tls(by=new_authority)
    connector = aiohttp.TCPConnector(force_close=True)
    with unstarted.news:
        async with (
            server.run() as unstarted.port,
            _following(server),
            aiohttp.ClientSession(connector=connector) as session,
        ):
            await serial(session, unstarted, old)
            with pytest.raises(aiohttp.ClientError):
                await serial(session, unstarted, new)
            new_authority.cert_pem.write_to_path(unstarted.files.client_ca_file)
            refused = False
            while not refused:
                try:
                    await serial(session, unstarted, old)
                except aiohttp.ClientError:
                    refused = True
            await serial(session, unstarted, new)


def test_files_that_do_not_fit_change_nothing(
    unstarted: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """A half-written change is passed over, and taken once it is whole."""
    files = unstarted.files
    serving = tls.ServingTls(files.certificate_file, files.key_file, files.client_ca_file)
    certificate = files.certificate_file.read_bytes()
    unstarted.issue()
    whole = files.certificate_file.read_bytes()
    files.certificate_file.write_bytes(certificate)

    assert not serving.reload()
    assert "Keeping the certificate in use: cannot serve the kubelet API with" in caplog.text
    files.certificate_file.write_bytes(whole)
    assert serving.reload()
    assert not serving.reload()


def test_without_a_certificate_there_is_no_server(unstarted: Node, tmp_path: Path) -> None:
    """Missing files stop the start, and are named."""
    files = unstarted.files
    with pytest.raises(errors.BadInput, match=r"cannot serve the kubelet API with .*none\.crt"):
        tls.ServingTls(tmp_path / "none.crt", files.key_file, files.client_ca_file)


async def test_a_certificate_may_come_later(
    unstarted: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """Until all files are there no handshake succeeds, and the log says why."""
    server = unstarted.make_server(awaited=True, reload_s=3600)
    context = unstarted.tls()
    key = unstarted.files.key_file.read_bytes()
    unstarted.files.key_file.unlink()
    connector = aiohttp.TCPConnector(force_close=True)
    with unstarted.news:
        async with (
            server.run() as unstarted.port,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            for _ in range(2):
                with pytest.raises(aiohttp.ClientError):
                    await serial(session, unstarted, context)
            unstarted.files.key_file.write_bytes(key)
            await server.look_again()
            answered = ""
            while not answered:
                with contextlib.suppress(aiohttp.ClientError):
                    answered = await serial(session, unstarted, context)

    refusals = [each for each in caplog.messages if "Refusing connections" in each]
    assert 1 == len(refusals)
    assert str(unstarted.files.key_file) in refusals[0]


async def test_an_address_in_use_is_said(node: Node) -> None:
    """A port that is taken stops the start with address and reason."""
    node.files = msgspec.structs.replace(node.files, port=node.port)
    server = node.make_server()
    with pytest.raises(errors.GaveUp, match=f"127.0.0.1 port {node.port}: .*in use"):
        async with server.run():
            pass
