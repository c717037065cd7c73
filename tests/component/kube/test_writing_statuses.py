"""
Statuses to an API server that has had enough.

The server here is a script, since a real one says 429 only under a load that
would take the machine with it. It notes when it was asked, by its own clock.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from blockbuster import BlockBuster

from tests.fakes import clock as clocks
from wasm_node.agent import errors
from wasm_node.agent.asynckit import clock
from wasm_node.agent.kube import client, podsink
from wasm_node.agent.loops import write_status
from wasm_node.agent.model import ids, observed, parsing
from wasm_node.agent.plan import status
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

PAUSE_S = 1
PODS = 40


class Script:
    """An API server that takes statuses, after what it is told to say first."""

    def __init__(self) -> None:
        self.first: list[tuple[int, Mapping[str, str]]] = []
        self.asked: list[tuple[float, int, str, Any]] = []
        """When, with what answer, of which pod, and what was said."""
        self.under_way = 0
        self.at_once = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one PATCH."""
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        body = json.loads(await request.read())
        code, headers = self.first.pop(0) if self.first else (200, {})
        self.asked.append((time.monotonic(), code, request.match_info["name"], body["status"]))
        await asyncio.sleep(0.005)  # as a real one, so that they meet
        self.under_way -= 1
        return web.json_response({"message": "enough", "reason": "T"}, status=code, headers=headers)


class Bed:
    """A writer of statuses, and the server that it writes to."""

    def __init__(self, api: client.Api, server: Script) -> None:
        self.server = server
        self.sink = podsink.ApiSink(api)
        self.wanted = pods.DesiredStore()
        self.seen = pods.ObservedStore()
        self.writer = write_status.StatusWriter(
            self.wanted,
            self.seen,
            self.sink,
            lambda: status.Addresses("10.0.0.1", "10.0.0.2"),
            clock.SystemClock(),
        )

    def change(self, number: int, attempt: int) -> None:
        """Have a pod's container be at this attempt."""
        uid = ids.pod_uid(f"u{number}")
        if self.wanted.get(uid) is None:
            meta = {"name": f"p{number}", "uid": uid}
            spec = {"containers": [{"name": "main", "image": "x"}]}
            self.wanted.put(parsing.pod({"metadata": meta, "spec": spec}))
        running = observed.Running(records.AttemptId(uid, "main", attempt), 7, 1.0)
        containers = {"main": observed.ObservedContainer(current=running)}
        self.seen.put(uid, observed.ObservedPod(1.0, containers))

    def taken(self) -> dict[str, int]:
        """Return the attempt that the server knows last, by pod."""
        return {
            name: body["containerStatuses"][0]["restartCount"]
            for _, code, name, body in self.server.asked
            if code == 200
        }


@pytest.fixture
async def bed(tmp_path: Path, blocking_calls_fail: BlockBuster) -> AsyncIterator[Bed]:
    """Give a writer, its real connection, and a scripted server."""
    server = Script()
    app = web.Application()
    app.router.add_patch("/api/v1/namespaces/default/pods/{name}/status", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"},
            }
        ],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    blocking_calls_fail.deactivate()  # connecting reads files on a loop of its own
    async with client.Api.connect(tmp_path / "config", private=tmp_path / "private") as api:
        blocking_calls_fail.activate()
        try:
            yield Bed(api, server)
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("code", [429, 503])
async def test_a_pause_that_is_asked_for_is_kept(bed: Bed, code: int) -> None:
    """No status of any pod comes before Retry-After is over; then all do."""
    bed.server.first = [(code, {"Retry-After": str(PAUSE_S)})]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        writing = group.create_task(bed.writer.run())
        bed.change(0, 0)
        while bed.writer.busy or not bed.server.asked:
            await asyncio.sleep(0.001)
        for attempt in (1, 2, 3):
            for number in range(PODS):
                bed.change(number, attempt)
            await clocks.settle()
        while len(bed.taken()) < PODS:
            await asyncio.sleep(0.01)
        writing.cancel()

    times = [at for at, *_ in bed.server.asked]
    assert times[1] - times[0] >= PAUSE_S
    assert set(bed.taken().values()) == {3}
    assert len(times) == 1 + PODS
    assert 1 < bed.server.at_once <= 16


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [({}, 1.0), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "86400"}, 60.0),
     ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0), ({"Retry-After": "-3"}, 1.0)],
)  # fmt: skip
async def test_how_long_a_pause_is(bed: Bed, headers: dict[str, str], after_s: float) -> None:
    """As asked for in seconds, a minute at most; a second if nobody says."""
    bed.server.first = [(429, headers)]
    pod = ids.PodRef("default", "p", ids.pod_uid("u"))
    with pytest.raises(errors.Throttled, match="429 enough") as caught:
        await bed.sink.write(pod, {})

    assert caught.value.after_s == after_s
