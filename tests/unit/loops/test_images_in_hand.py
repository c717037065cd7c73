"""Fetching: which images are in hand."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes import cluster
from tests.fakes.clock import FakeClock
from tests.fakes.containers import FakeContainers
from tests.fakes.puller import FakePuller
from wasm_node.agent import errors
from wasm_node.agent.loops import fetching
from wasm_node.agent.model import ids, image, parsing

IMAGE = image.Image(
    "hello:1", "r/hello@sha256:1", "A", 9, Path("/hello.wasm"), ids.Digest("sha256:1"), None
)
POD = parsing.pod(
    {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"name": "main", "image": "hello:1"}]},
    }
)


class _Slow(FakeContainers):
    """Compiles for as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.compiling = asyncio.Event()
        self.may_end = asyncio.Event()

    async def prepare(self, program: image.Program) -> bool:
        self.compiling.set()
        await self.may_end.wait()
        return await super().prepare(program)


def _fetcher(containers: FakeContainers) -> fetching.Fetcher:
    puller = FakePuller({"hello:1": IMAGE})
    return fetching.Fetcher(puller, containers, cluster.FakeEvents(), FakeClock(), lambda *_: None)


async def test_an_image_is_in_hand_until_its_pod_can_be_noted_with_it() -> None:
    """While it is compiled; a tag that moves meanwhile must not cost it."""
    containers = _Slow()
    fetcher = _fetcher(containers)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetcher.fetch(POD.ref, POD.containers[0])) for _ in range(2)]
        await containers.compiling.wait()
        during = fetcher.preparing
        containers.may_end.set()

    assert set(during) == {IMAGE.image_id}
    assert {each.result().image_id for each in tasks} == {IMAGE.image_id}
    assert fetcher.preparing == ()


async def test_an_image_that_is_of_no_use_is_let_go() -> None:
    """What cannot be compiled is in nobody's hand."""
    containers = FakeContainers()
    containers.cannot_prepare["sha256:1"] = errors.BadInput("no", reason="InvalidModule")
    fetcher = _fetcher(containers)
    with pytest.raises(errors.BadInput):
        await fetcher.fetch(POD.ref, POD.containers[0])

    assert fetcher.preparing == ()
