"""
Watching pods through everything that can end a watch.

The API server here is a script: what a real one does only after hours (a 410,
a silent end, a torn connection) it does when a test wants it. That the real
one is understood at all, e2e/test_contracts.py shows.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from blockbuster import BlockBuster

from wasm_node.agent.kube import client, podsource
from wasm_node.agent.model import desired

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pod(name: str, version: int) -> dict[str, Any]:
    """Return a decoded Pod."""
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)},
        "spec": {"containers": [{"name": "main", "image": "x"}]},
    }


def listed(version: int, *names: str, odd: str = "") -> Answer:
    """Answer a list, in which `odd` has what this node cannot read."""

    async def answer(_: web.Request) -> web.StreamResponse:
        items = [pod(name, version) for name in names]
        for each in items:
            if each["metadata"]["name"] == odd:
                each["spec"]["containers"][0]["env"] = [{"name": "A", "valueFrom": {"new": {}}}]
        return web.json_response({"metadata": {"resourceVersion": str(version)}, "items": items})

    return answer


def watched(*events: dict[str, Any] | bytes) -> Answer:
    """Answer a watch with these events, then end it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for each in events:
            line = each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n"
            await response.write(line)
        return response

    return answer


def refused(status: int) -> Answer:
    """Answer with an error, as the API server words it."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "no", "reason": "Expired"}, status=status)

    return answer


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    """Return one line of a watch."""
    return {"type": kind, "object": pod(name, version)}


class Script:
    """An API server that gives one answer after another, then hangs."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Give the next answer."""
        self.asked.append(dict(request.query))
        if not self.answers:
            await asyncio.get_running_loop().create_future()
        return await self.answers.pop(0)(request)


@pytest.fixture
async def script(
    tmp_path: Path, blocking_calls_fail: BlockBuster
) -> AsyncIterator[tuple[Script, podsource.ApiPods]]:
    """Give a scripted API server, and the pods of node `n` as seen there."""
    made = Script()
    app = web.Application()
    app.router.add_get("/api/v1/pods", made.handle)
    app.router.add_get("/api/v1/namespaces/default/secrets/late", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    blocking_calls_fail.deactivate()  # connecting reads files on a loop of its own
    async with client.Api.connect(tmp_path / "config", private=tmp_path / "private") as api:
        blocking_calls_fail.activate()
        try:
            yield made, podsource.ApiPods(api, "n")
        finally:
            await runner.cleanup()


async def _take(pods: podsource.ApiPods, count: int) -> list[list[str]]:
    """Return so many news: a list as names, a pod as one name with its fate."""
    found: list[list[str]] = []
    news = pods.changes()
    while len(found) < count:
        each = await anext(news)
        if isinstance(each, desired.DesiredPod):
            found.append([f"{each.ref.name}{' gone' if each.gone else ''}"])
        else:
            found.append(["list", *(pod.ref.name for pod in each)])
    await news.aclose()  # type: ignore[attr-defined]  # it is a generator
    return found


async def test_a_watch_goes_on_where_it_was(script: tuple[Script, podsource.ApiPods]) -> None:
    """An end of the stream is no gap: the next watch begins where it was."""
    server, pods = script
    server.answers = [
        listed(5, "a"),
        watched(event("ADDED", "b", 6), event("BOOKMARK", "", 9)),
        watched(event("DELETED", "a", 10)),
    ]

    assert [["list", "a"], ["b"], ["a gone"]] == await _take(pods, 3)
    assert [None, "5", "9"] == [each.get("resourceVersion") for each in server.asked[:3]]
    assert {"spec.nodeName=n"} == {each["fieldSelector"] for each in server.asked}


@pytest.mark.parametrize(
    "gap",
    [
        refused(410),
        watched({"type": "ERROR", "object": {"code": 410, "message": "too old"}}),
    ],
    ids=["status", "event"],
)
async def test_a_gap_is_a_new_list(script: tuple[Script, podsource.ApiPods], gap: Answer) -> None:
    """After a 410, however it comes, everything is listed again."""
    server, pods = script
    server.answers = [listed(5, "a", "b"), gap, listed(50, "b")]

    assert [["list", "a", "b"], ["list", "b"]] == await _take(pods, 2)


@pytest.mark.parametrize(
    "trouble", [refused(503), refused(403), refused(429), watched(b'{"type": "ADD')],
    ids=["503", "403", "429", "torn"],
)  # fmt: skip
async def test_trouble_is_waited_out(
    script: tuple[Script, podsource.ApiPods], trouble: Answer
) -> None:
    """What may pass is tried again, from where the watch was."""
    server, pods = script
    server.answers = [listed(5, "a"), trouble, watched(event("MODIFIED", "a", 6))]

    assert [["list", "a"], ["a"]] == await _take(pods, 2)


async def test_a_pod_that_cannot_be_read_is_there(
    script: tuple[Script, podsource.ApiPods],
) -> None:
    """One that is not on the list would be taken for gone, and ended."""
    server, pods = script
    server.answers = [listed(5, "a", "new", odd="new")]

    assert [["list", "a", "new"]] == await _take(pods, 1)


async def test_a_long_list_comes_in_pages(script: tuple[Script, podsource.ApiPods]) -> None:
    """All pages are one list; a pod that cannot be read costs only itself."""

    async def first(_: web.Request) -> web.StreamResponse:
        broken = {"metadata": {"name": "broken", "uid": "../x"}, "spec": {"containers": []}}
        meta = {"resourceVersion": "7", "continue": "more"}
        return web.json_response({"metadata": meta, "items": [pod("a", 1), broken]})

    server, pods = script
    server.answers = [first, listed(7, "b")]

    assert [["list", "a", "b"]] == await _take(pods, 1)
    assert server.asked[1]["continue"] == "more"


async def test_what_a_pod_names_is_read_once_the_authorizer_has_seen_the_pod(
    script: tuple[Script, podsource.ApiPods],
) -> None:
    """The Node authorizer's watch may lag behind ours: no reason to give up."""

    async def read(_: web.Request) -> web.StreamResponse:
        return web.json_response({"data": {"word": "b3Blbg=="}})

    server, pods = script
    server.answers = [refused(403), refused(403), read]

    assert {"word": b"open"} == await pods.data("default", "Secret", "late")
