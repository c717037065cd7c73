"""
Registries that are not on loopback are spoken to by HTTPS, and checked.

Connecting to 0.0.0.0 ends on loopback, but the name is not loopback's: these
tests reach a server of their own by the way that leads to the internet.
"""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from tests.component.oci import misbehaving, publishing
from tests.component.oci.misbehaving import Misbehaving
from wasm_node.agent import errors
from wasm_node.agent.oci.puller import RegistryPuller

HOST = "0.0.0.0"  # noqa: S104  # connected to, never listened on
IMAGE = publishing.artifact(publishing.MODULE)
BLOB = f"app/blobs/{publishing.digest(publishing.MODULE)}"


@pytest.fixture
def authority() -> trustme.CA:
    """Give a certificate authority that nobody trusts yet."""
    return trustme.CA()


@pytest.fixture
async def served(authority: trustme.CA) -> AsyncIterator[Misbehaving]:
    """Give a registry with a certificate for HOST."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    async with misbehaving.running(context) as registry:
        registry.serve("app", "1", IMAGE)
        registry.address = registry.address.replace("127.0.0.1", HOST)
        yield registry


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority as a system's administrator would."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("trusted")
async def test_trusted(served: Misbehaving, tmp_path: Path) -> None:
    """A registry whose certificate the system trusts is pulled from."""
    async with RegistryPuller(tmp_path) as puller:
        found = await puller.pull(f"{served.address}/app:1")

    assert found.image_id == f"{served.address}/app@{IMAGE.digest}"


async def test_not_trusted(served: Misbehaving, tmp_path: Path) -> None:
    """One whose certificate is not trusted is told nothing, and at once."""
    async with RegistryPuller(tmp_path) as puller:
        with pytest.raises(errors.Retryable, match=r"cannot be spoken to by HTTPS: .*certificate"):
            await puller.pull(f"{served.address}/app:1")

    assert served.asked == []


@pytest.mark.usefixtures("trusted")
async def test_never_down_to_plain_http(served: Misbehaving, tmp_path: Path) -> None:
    """A redirect from HTTPS to HTTP is not followed."""
    async with misbehaving.running() as plain:

        async def down(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"http://{plain.address}/x"})

        served.quirks[BLOB] = down
        async with RegistryPuller(tmp_path) as puller:
            with pytest.raises(errors.Retryable, match=r"redirects to a place that is not safe"):
                await puller.pull(f"{served.address}/app:1")

    assert plain.asked == []


async def test_plain_http_only_where_told(tmp_path: Path) -> None:
    """A registry elsewhere is spoken to by plain HTTP only by a setting."""
    async with misbehaving.running() as plain:
        plain.serve("app", "1", IMAGE)
        address = plain.address.replace("127.0.0.1", HOST)
        async with RegistryPuller(tmp_path / "a") as puller:
            with pytest.raises(errors.Retryable, match=r"cannot be spoken to by HTTPS"):
                await puller.pull(f"{address}/app:1")
        assert plain.asked == []
        async with RegistryPuller(tmp_path / "b", insecure_registries=[address]) as puller:
            found = await puller.pull(f"{address}/app:1")

    assert found.image_id.startswith(f"{address}/app@")
