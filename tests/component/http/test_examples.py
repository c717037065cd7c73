"""The examples that serve HTTP do what their sources say."""

import json
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.component.http import serving
from tests.component.runtime import running
from tests.wasm import guests
from wasm_node.protocol import records

# A toolchain that is not here yet is fetched by the first test that needs it,
# and interpreters take a while to compile.
pytestmark = pytest.mark.timeout(600)

HELLO = Path(serving.__file__).parents[3] / "agent/wasm_node/examples/hello-http.wat"


@pytest.fixture(scope="module")
def runtime() -> Iterator[running.RunningRuntime]:
    """Return a runtime that has as much time to compile as it takes."""
    with running.runtime(engine="native") as made:
        yield made


async def _ask(worker: serving.Worker, path: str) -> tuple[aiohttp.ClientResponse, str]:
    async with aiohttp.ClientSession() as client, client.get(worker.url(path)) as got:
        return got, await got.text()


async def test_text(runtime: running.RunningRuntime) -> None:
    """`wasm-node run hello-http`: a component without any toolchain."""
    async with serving.worker(runtime, program=HELLO) as worker:
        got, said = await _ask(worker, "/")

    assert (got.status, got.content_type) == (200, "text/plain")
    assert said == "Hello from WebAssembly: each request has an instance of its own.\n"


@pytest.mark.long
async def test_python(runtime: running.RunningRuntime) -> None:
    """A JSON API in Python."""
    async with serving.worker(runtime, program=guests.path("python-json")) as worker:
        got, text = await _ask(worker, "/a?b=c")
    said = json.loads(text)

    assert (got.status, got.content_type) == (200, "application/json")
    assert said["path"] == "/a?b=c"
    assert said["python"].startswith("3.")
    assert "user-agent" in said["headers"]


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """Serve JSON; yield HOST:PORT."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"price": 42})

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, serving.LOOPBACK, 0).start()
    yield f"{serving.LOOPBACK}:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.long
@pytest.mark.parametrize(
    ("granted", "status", "wanted"),
    [(True, 200, {"price": 42}), (False, 502, None)],
    ids=["granted", "denied"],
)
async def test_javascript(
    runtime: running.RunningRuntime, upstream: str, granted: bool, status: int, wanted: Any
) -> None:
    """`fetch` of another API, where the pod may ask it."""
    grants = records.Grants(outgoing_http=(upstream,)) if granted else None
    program, env = guests.path("js-fetch"), [("UPSTREAM", f"http://{upstream}/")]
    async with (
        serving.worker(runtime, program=program, env=env, grants=grants) as worker,
        aiohttp.ClientSession() as client,
        client.get(worker.url("/")) as got,
    ):
        said = await got.json()

    assert got.status == status
    assert said.get("body") == wanted


async def test_rust(runtime: running.RunningRuntime) -> None:
    """Events come one by one, as the program prints them."""
    program = guests.path("rust-stream")
    async with (
        serving.worker(runtime, program=program, mode="wagi") as worker,
        aiohttp.ClientSession() as client,
        client.get(worker.url("/")) as got,
    ):
        events = [line.decode() async for line in got.content if line.strip()]

    assert got.content_type == "text/event-stream"
    assert events == [f"data: event {number}\n" for number in range(1, 6)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the tree of an image with files to serve."""
    shutil.copytree(guests.EXAMPLES / "go-files" / "www", tmp_path / "www")
    tmp_path.chmod(0o755)
    return tmp_path


async def test_go(runtime: running.RunningRuntime, tree: Path) -> None:
    """Files of the image, by Go's own file server; none beside them."""
    mounts = (records.Mount(str(tree), "/", read_only=True),)
    async with serving.worker(
        runtime, program=guests.path("go-files"), mode="wagi", mounts=mounts
    ) as worker:
        got, said = await _ask(worker, "/style.css")
        index, _ = await _ask(worker, "/")
        missing, _ = await _ask(worker, f"/{uuid.uuid4()}")

    assert (got.status, got.content_type) == (200, "text/css")
    assert said == (guests.EXAMPLES / "go-files" / "www" / "style.css").read_text()
    assert (index.status, index.content_type, missing.status) == (200, "text/html", 404)
