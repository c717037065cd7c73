"""What a registry may do to us: nothing but fail, in words, in time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.component.oci import misbehaving, publishing
from tests.component.oci.misbehaving import Handler, Misbehaving
from wasm_node.agent import errors
from wasm_node.agent.oci.puller import RegistryPuller
from wasm_node.agent.oci.timeouts import Timeouts

WASM = publishing.MODULE + b"\0\xff\xff\x03" + bytes(65535)
LARGE = publishing.MODULE + bytes(4 << 20)
IMAGE = publishing.artifact(WASM)
MANIFEST = "app/manifests/1"
BLOB = f"app/blobs/{publishing.digest(WASM)}"
QUICK = Timeouts(connect_s=1, silence_s=0.3, document_s=1)


@pytest.fixture
async def bad() -> AsyncIterator[Misbehaving]:
    """Give a registry that serves `app:1`, until a test spoils it."""
    async with misbehaving.running() as registry:
        registry.serve("app", "1", IMAGE)
        yield registry


async def refused(bad: Misbehaving, images: Path) -> errors.NodeError:
    """Pull `app:1` and return the failure; nothing may be left of it."""
    async with RegistryPuller(images, patience=QUICK) as puller:
        with pytest.raises(errors.NodeError) as caught:
            await puller.pull(f"{bad.address}/app:1")
        assert await puller.local(f"{bad.address}/app:1") is None
    assert list((images / "partial").iterdir()) == []
    assert not (images / "blobs/sha256" / publishing.digest(WASM)[7:]).exists()
    assert str(caught.value).startswith(f"cannot pull {bad.address}/app:1: ")
    return caught.value


def body(content: bytes, *, announced: bool = True) -> Handler:
    """Answer 200 with a body, its length announced or not."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if announced:
            return web.Response(body=content)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(content)
        return response

    return answer


def redirect(location: str) -> Handler:
    """Answer with a redirect."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": location})

    return answer


@pytest.mark.parametrize(
    ("content", "announced", "says"),
    [
        (WASM[:-1], True, "sent 65546 bytes, and its manifest says 65547"),
        (WASM[:-1], False, "sent 65546 bytes of the 65547 announced"),
        (WASM + b"x", True, "sent 65548 bytes, and its manifest says 65547"),
        (WASM + b"x", False, "sent more than the 65547 bytes announced"),
        (WASM[:-1] + b"x", True, "sent bytes with the digest sha256:"),
    ],
)
async def test_other_bytes_than_announced(
    bad: Misbehaving, tmp_path: Path, content: bytes, announced: bool, says: str
) -> None:
    """A blob that is shorter, longer or other is refused and leaves nothing."""
    bad.quirks[BLOB] = body(content, announced=announced)
    error = await refused(bad, tmp_path)

    assert isinstance(error, errors.Retryable)
    assert says in str(error)


async def test_endless_blob(bad: Misbehaving, tmp_path: Path) -> None:
    """A blob without end is cut off where its manifest ends it."""
    written = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))
            written += 1 << 16

    bad.quirks[BLOB] = pour
    error = await refused(bad, tmp_path)

    assert "more than the 65547 bytes announced" in str(error)
    assert written < 64 << 20


async def test_wrong_manifest_for_a_digest(bad: Misbehaving, tmp_path: Path) -> None:
    """A manifest asked for by digest must have that digest."""
    bad.quirks[f"app/manifests/{IMAGE.digest}"] = body(IMAGE.manifest + b" ")
    async with RegistryPuller(tmp_path) as puller:
        with pytest.raises(errors.Retryable, match=r"sent a manifest with the digest sha256:"):
            await puller.pull(f"{bad.address}/app@{IMAGE.digest}")


async def test_huge_manifest(bad: Misbehaving, tmp_path: Path) -> None:
    """A manifest of more than 4 MiB is not read to its end."""
    bad.quirks[MANIFEST] = body(bytes((4 << 20) + 1))

    assert "its manifest is larger than 4 MiB" in str(await refused(bad, tmp_path))


@pytest.mark.parametrize("path", [MANIFEST, BLOB])
async def test_stall(bad: Misbehaving, tmp_path: Path, path: str) -> None:
    """A registry that falls silent in the middle of an answer is given up."""

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.get_running_loop().create_future()
        return response

    bad.quirks[path] = stall

    assert "is too slow: gave up waiting for it" in str(await refused(bad, tmp_path))


async def test_connection_lost(bad: Misbehaving, tmp_path: Path) -> None:
    """A connection that breaks is tried again, and the pull succeeds."""

    async def hang_up(request: web.Request) -> web.StreamResponse:
        if bad.paths().count(BLOB) == 2:
            return bad.good(BLOB)
        assert request.transport is not None
        response = web.StreamResponse(headers={"Content-Length": str(len(WASM))})
        await response.prepare(request)
        await response.write(WASM[:1000])
        request.transport.abort()
        return response

    bad.quirks[BLOB] = hang_up
    heard: list[tuple[int, int | None]] = []
    async with RegistryPuller(tmp_path) as puller:
        found = await puller.pull(
            f"{bad.address}/app:1", progress=lambda done, total: heard.append((done, total))
        )

    assert found.module is not None
    assert found.module.read_bytes() == WASM
    assert heard[-1] == (len(WASM), len(WASM))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_blips(bad: Misbehaving, tmp_path: Path, status: int) -> None:
    """A registry that is busy for a moment costs a moment, no failure."""

    async def busy_at_first(_: web.Request) -> web.StreamResponse:
        if bad.paths().count(MANIFEST) == 2:
            return bad.good(MANIFEST)
        return web.Response(status=status, headers={"Retry-After": "0"})

    bad.quirks[MANIFEST] = busy_at_first
    async with RegistryPuller(tmp_path) as puller:
        await puller.pull(f"{bad.address}/app:1")

    assert bad.paths().count(MANIFEST) == 2


@pytest.mark.parametrize(("retry_after", "tries"), [("0", 4), ("3600", 1)])
async def test_busy_for_long(
    bad: Misbehaving, tmp_path: Path, retry_after: str, tries: int
) -> None:
    """A registry that stays busy, or asks for much patience, fails the pull."""

    async def busy(_: web.Request) -> web.StreamResponse:
        error = {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}
        return web.json_response(error, status=429, headers={"Retry-After": retry_after})

    bad.quirks[MANIFEST] = busy
    error = await refused(bad, tmp_path)

    assert "answered 429 (TOOMANYREQUESTS: slow down)" in str(error)
    assert bad.paths().count(MANIFEST) == tries


async def test_nobody_there(tmp_path: Path) -> None:
    """A registry that is not there is named, with the system's own words."""
    async with RegistryPuller(tmp_path) as puller:
        with pytest.raises(errors.Retryable, match=r"127\.0\.0\.1:1 cannot be reached: .*refused"):
            await puller.pull("127.0.0.1:1/app:1")


@pytest.mark.parametrize("location", ["/v2/" + BLOB, "ftp://127.0.0.1/x", "http://", ""])
async def test_redirects_that_lead_nowhere(bad: Misbehaving, tmp_path: Path, location: str) -> None:
    """Redirects without end, or to what is no HTTP, fail."""
    bad.quirks[BLOB] = redirect(location)

    assert "redirects" in str(await refused(bad, tmp_path))
    assert bad.paths().count(BLOB) <= 6


async def test_redirect_to_storage(bad: Misbehaving, tmp_path: Path) -> None:
    """A blob may lie on another host, which never sees the token."""
    async with misbehaving.running() as storage:
        storage.quirks["/store"] = body(WASM)
        bad.quirks[BLOB] = redirect(f"http://{storage.address}/store")
        guarded(bad, f"http://{bad.address}/token")
        async with RegistryPuller(tmp_path) as puller:
            found = await puller.pull(f"{bad.address}/app:1")

    assert found.module is not None
    assert storage.asked == [("/store", "")]
    assert (BLOB, "Bearer good") in bad.asked


def guarded(bad: Misbehaving, realm: str, *, token: str = "good") -> None:  # noqa: S107  # no secret
    """Have the registry want a token, which `realm` hands out."""

    async def give(request: web.Request) -> web.StreamResponse:
        assert request.query["service"] == "tests"
        assert request.query["scope"] == "repository:app:pull"
        return web.json_response({"token": token, "expires_in": 300})

    def locked(path: str, inner: Handler | None) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") == "Bearer good":
                return bad.good(path) if inner is None else await inner(request)
            challenge = f'Bearer realm="{realm}",service="tests",scope="repository:app:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})

        return answer

    for path in (MANIFEST, BLOB):
        bad.quirks[path] = locked(path, bad.quirks.get(path))
    bad.quirks["/token"] = give


async def test_anonymous_token(bad: Misbehaving, tmp_path: Path) -> None:
    """A registry that wants a token gets one, asked for once."""
    guarded(bad, f"http://{bad.address}/token")
    async with RegistryPuller(tmp_path) as puller:
        await puller.pull(f"{bad.address}/app:1")

    assert bad.paths().count("/token") == 1
    assert bad.asked[-1] == (BLOB, "Bearer good")


async def test_token_that_does_not_open(bad: Misbehaving, tmp_path: Path) -> None:
    """A token that is refused is asked for once, and the failure says why."""
    guarded(bad, f"http://{bad.address}/token", token="bad")  # noqa: S106  # no secret
    error = await refused(bad, tmp_path)

    assert "denies it (401): it may not exist, or wants credentials" in str(error)
    assert bad.paths().count("/token") == 1


@pytest.mark.parametrize("realm", ["http://192.0.2.1/token", "file:///etc/passwd", "https://", ""])
async def test_unsafe_realm(bad: Misbehaving, tmp_path: Path, realm: str) -> None:
    """A token is fetched over HTTPS or from this host, never else."""
    guarded(bad, realm)

    assert "wants a token from" in str(await refused(bad, tmp_path))


async def test_credentials_wanted(bad: Misbehaving, tmp_path: Path) -> None:
    """A registry that wants a password is told from one that is broken."""

    async def basic(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    bad.quirks[MANIFEST] = basic

    assert "wants credentials, and none are known here" in str(await refused(bad, tmp_path))


async def test_many_ask_for_one_image(bad: Misbehaving, tmp_path: Path) -> None:
    """Twenty pulls of one image are one transfer."""
    async with RegistryPuller(tmp_path) as puller, asyncio.TaskGroup() as group:
        tasks = [group.create_task(puller.pull(f"{bad.address}/app:1")) for _ in range(20)]

    assert len({task.result() for task in tasks}) == 1
    assert bad.paths().count(BLOB) == 1


async def test_cancelled_in_mid_read(bad: Misbehaving, tmp_path: Path) -> None:
    """A pull cancelled in a blob leaves nothing; who waited for it goes on."""
    begun = asyncio.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        if begun.is_set():
            return bad.good(BLOB)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(WASM[: len(WASM) // 2])
        begun.set()
        await asyncio.get_running_loop().create_future()
        return response

    bad.quirks[BLOB] = half
    async with RegistryPuller(tmp_path) as puller:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            first = group.create_task(puller.pull(f"{bad.address}/app:1"))
            await begun.wait()
            second = group.create_task(puller.pull(f"{bad.address}/app:1"))
            first.cancel()
        found = second.result()

    assert first.cancelled()
    assert found.module is not None
    assert found.module.read_bytes() == WASM
    assert list((tmp_path / "partial").iterdir()) == []


async def test_processes_share_a_store(bad: Misbehaving, tmp_path: Path) -> None:
    """One that starts while another pulls takes nothing away from it."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(LARGE))})
        await response.prepare(request)
        await response.write(LARGE[: 2 << 20])
        begun.set()
        await may_end.wait()
        await response.write(LARGE[2 << 20 :])
        return response

    bad.serve("large", "1", publishing.artifact(LARGE))
    bad.quirks[f"large/blobs/{publishing.digest(LARGE)}"] = half
    async with RegistryPuller(tmp_path) as first, asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            pulling = group.create_task(first.pull(f"{bad.address}/large:1"))
            await begun.wait()
            async with RegistryPuller(tmp_path) as second:
                await second.pull(f"{bad.address}/app:1")
            may_end.set()
        found = pulling.result()

    assert found.module is not None
    assert found.module.read_bytes() == LARGE


@pytest.mark.parametrize("realm", ["https://127.0.0.1:99999/t", "http://127.0.0.1:x/t"])
async def test_nonsense_realm(bad: Misbehaving, tmp_path: Path, realm: str) -> None:
    """A realm that is no URL at all fails the pull like any other."""
    guarded(bad, realm)

    assert "wants a token from" in str(await refused(bad, tmp_path))
