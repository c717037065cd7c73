"""One agent per node name."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster, hosts
from wasm_node.agent import errors
from wasm_node.agent.loops import claim, heartbeat
from wasm_node.agent.plan import node as planning


class Bed:
    """Two agents, `a` and `b`, of one node name."""

    def __init__(self) -> None:
        self.shared = cluster.FakeNode()
        self.clock = clocks.FakeClock()
        self.a = claim.ClaimedNode(self.shared, "a", self.clock)
        self.b = claim.ClaimedNode(self.shared, "b", self.clock)
        self.said: list[str] = []

    def node(self) -> dict[str, Any]:
        """Return a Node to create."""
        return planning.new(hosts.IDENTITY, hosts.SMALL, planning.Health(""), self.clock.now())

    @property
    def notes(self) -> Mapping[str, str]:
        """What is noted on the Node."""
        assert self.shared.node is not None
        found: Mapping[str, str] = self.shared.node["metadata"]["annotations"]
        return found

    async def pass_time(self, seconds: int, *, renewing: bool) -> None:
        """Let so many seconds pass; the agent `a` lives, or not."""
        for second in range(seconds):
            if renewing and second % 10 == 0:
                await self.a.renew_lease("u", heartbeat.LEASE_S, self.clock.now())
            await self.clock.go_on(1)


@pytest.fixture
async def bed() -> Bed:
    """Give a Node that `a` has registered and renewed."""
    made = Bed()
    await made.a.claim(made.said.append)
    await made.a.create(made.node())
    await made.a.renew_lease("u", heartbeat.LEASE_S, made.clock.now())
    return made


async def test_a_name_that_nobody_has_is_free(bed: Bed) -> None:
    """Who registers first notes it on the Node, and goes on as it."""
    await bed.a.claim(bed.said.append)

    assert [] == bed.said
    assert "a" == bed.notes[claim.HOLDER]
    assert await bed.a.get() is not None


async def test_who_is_alive_is_waited_for(bed: Bed) -> None:
    """However long the other one renews its Lease, and said once."""
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(bed.b.claim(bed.said.append))
        await bed.pass_time(300, renewing=True)
        assert not claiming.done()
        claiming.cancel()

    assert "a" == bed.notes[claim.HOLDER]
    assert ["another agent (state directory a) acts for this node"] == bed.said


async def test_who_is_gone_is_succeeded(bed: Bed) -> None:
    """A Lease that has not moved for its length, by our clock, is over."""
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(bed.b.claim(bed.said.append))
        await bed.pass_time(60, renewing=True)
        await bed.pass_time(heartbeat.LEASE_S - 15, renewing=False)
        assert not claiming.done()
        await bed.pass_time(20, renewing=False)
        await claiming

    assert "b" == bed.notes[claim.HOLDER]


async def test_who_was_succeeded_ends(bed: Bed) -> None:
    """It finds out when it next looks, says so, and writes nothing more."""
    await bed.b.patch({"metadata": {"labels": {}}})
    before = bed.shared.lease
    with pytest.raises(errors.GaveUp, match="another agent has taken its name over"):
        await bed.a.get()
    with pytest.raises(errors.GaveUp, match="another agent has taken its name over"):
        await bed.a.watch()
    await bed.a.renew_lease("u", heartbeat.LEASE_S, bed.clock.now() + 10)

    assert before == bed.shared.lease


async def test_an_api_server_that_is_away_decides_nothing(bed: Bed) -> None:
    """Without an answer the name is nobody's to take."""
    bed.shared.answers = False
    async with asyncio.TaskGroup() as group:
        claiming = group.create_task(bed.b.claim(bed.said.append))
        await bed.pass_time(300, renewing=False)
        assert not claiming.done()
        claiming.cancel()


async def test_a_node_that_is_not_there_is_left_to_registering(bed: Bed) -> None:
    """Nobody acts for a Node that was deleted."""
    bed.shared.node = bed.shared.lease = None
    await bed.b.claim(bed.said.append)

    assert await bed.b.get() is None
