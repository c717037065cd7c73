"""
A small API server over real HTTP, and the controller's client on it.

It keeps objects by path, with the API server's own rules where they matter
here: resource versions, uid preconditions, no second object of a name, a
token that has to be right.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from wasm_node.controller import apiserver, settings

POLICY = settings.Settings(
    namespace="wasm",
    agent_service_account="agent",
    agent_selector={"app": "agent"},
    node_name="wasm-{host}",
)
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/wasm/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
EVENTS = "/api/v1/namespaces/default/events"


class Server:
    """
    Objects by path; tests put them in, and see what became of them.

    Attributes:
        objects: what there is.
        asked: method and path of each request, in order.
        token: the only one that is let in.
        before: called with method and path before a request is answered.
        refusing: answer everything by 503.
        address: its URL.
    """

    def __init__(self) -> None:
        self.address = ""
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.token = "first"  # noqa: S105  # of this test
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.refusing = False
        self._version = 0

    def put(self, path: str, **parts: Any) -> dict[str, Any]:
        """Store an object; its name, uid and version are made up."""
        self._version += 1
        name = path.rpartition("/")[2]
        made = {"apiVersion": "v1", "kind": "Thing", **parts}
        meta = {"name": name, "uid": f"uid-{name}", **made.get("metadata", {})}
        self.objects[path] = {
            **made, "metadata": {**meta, "resourceVersion": str(self._version)}
        }  # fmt: skip
        return self.objects[path]

    def below(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return the objects of a collection by name."""
        found = {path.rpartition("/"): value for path, value in self.objects.items()}
        return {name: value for (parent, _, name), value in found.items() if parent == collection}

    async def answer(self, request: web.Request) -> web.Response:
        """Do one request."""
        self.asked.append((request.method, request.path))
        self.before(request.method, request.path)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        if self.refusing:
            return _status(503, "not now")
        body = await request.json() if request.can_read_body else {}
        return getattr(self, f"_{request.method.lower()}")(request, body)  # type: ignore[no-any-return]

    def _get(self, request: web.Request, _: Any) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if "limit" not in request.query:
            return _status(404, "not found")
        found = list(self.below(request.path).values())
        begin = int(request.query.get("continue", "0"))
        end = begin + 2  # pages of two, whatever was asked for
        more = {"continue": str(end)} if end < len(found) else {}
        return web.json_response({"items": found[begin:end], "metadata": more})

    def _put(self, request: web.Request, body: Any) -> web.Response:
        path = request.path.removesuffix("/approval")
        there = self.objects[path]
        if body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified")
        return web.json_response(self.put(path, **body))

    def _patch(self, request: web.Request, body: Any) -> web.Response:
        there = self.objects[request.path]
        meta = there["metadata"]
        for key in ("labels", "annotations"):
            meta[key] = {**meta.get(key, {}), **body["metadata"].get(key, {})}
        return web.json_response(there)

    def _post(self, request: web.Request, body: Any) -> web.Response:
        path = f"{request.path}/{body['metadata']['name']}"
        if path in self.objects:
            return _status(409, "already exists")
        return web.json_response(self.put(path, **body))

    def _delete(self, request: web.Request, body: Any) -> web.Response:
        if request.path not in self.objects:
            return _status(404, "not found")
        wanted = body.get("preconditions", {}).get("uid")
        if wanted and wanted != self.objects[request.path]["metadata"]["uid"]:
            return _status(409, "the uid is another")
        return web.json_response(self.objects.pop(request.path))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": message}, status=code)


async def until(condition: Callable[[], object]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def looked(server: Server, path: str, again: Callable[[], None]) -> None:
    """Have a loop look again, twice, so that the first look is over."""
    for _ in range(2):
        before = server.asked.count(("GET", path))
        again()
        async with asyncio.timeout(10):
            while server.asked.count(("GET", path)) <= before:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(*loops: Any) -> AsyncIterator[None]:
    """Run the loops for as long as the block lasts."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(each.run()) for each in loops]
        yield
        for each in started:
            each.cancel()


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Give a server that listens on loopback."""
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.address = "http://{}:{}".format(*runner.addresses[0])
    yield made
    await runner.cleanup()


@pytest.fixture
def sign_in(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Give what writes a token into the kubeconfig that is used."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    def write(token: str) -> None:
        config = {
            "clusters": [{"name": "it", "cluster": {"server": server.address}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
            "current-context": "it",
        }
        path.write_text(json.dumps(config))

    write("first")
    return write


@pytest.fixture
async def api(sign_in: Callable[[str], None]) -> AsyncIterator[apiserver.Api]:
    """Give the controller's client of the server."""
    async with apiserver.Api.connect() as connected:
        yield connected
