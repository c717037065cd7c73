"""The node's own signs of life."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster, hosts
from wasm_node.agent import errors
from wasm_node.agent.loops import heartbeat
from wasm_node.agent.plan import node

IDENTITY = hosts.IDENTITY
HOST = hosts.SMALL


class Bed:
    """A heartbeat over a fake API server and clock."""

    def __init__(self) -> None:
        self.node = cluster.FakeNode()
        self.clock = clocks.FakeClock()
        self.health: node.Health | None = node.Health("")
        self.asked = 0
        self.events = cluster.FakeEvents()
        self.host = HOST
        self.beat = heartbeat.Heartbeat(
            self.node, IDENTITY, lambda: self.host, self._say, self.events, self.clock
        )

    def runs(self, *worlds: str) -> None:
        """Have the runtime say what its engine runs."""
        self.host = dataclasses.replace(HOST, room=dataclasses.replace(hosts.ROOM, worlds=worlds))
        self.beat.look_again()

    def _say(self) -> node.Health | None:
        self.asked += 1
        return self.health


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_it_registers_with_taints() -> None:
    """A new node is created as a whole: nothing lands on it untainted."""
    bed = Bed()
    await bed.beat.register()

    assert bed.node.node is not None
    assert len(bed.node.node["spec"]["taints"]) == 2


async def test_a_node_of_ours_is_taken_over() -> None:
    """After a restart the Node stays, with what others set on it."""
    bed = Bed()
    await bed.beat.register()
    assert bed.node.node is not None
    bed.node.node["spec"]["unschedulable"] = True
    await Bed().beat.register()
    await bed.beat.register()

    assert bed.node.node["spec"]["unschedulable"] is True


async def test_a_stranger_of_our_name_is_refused() -> None:
    """A real node's name is never taken over; the text says what to do."""
    bed = Bed()
    bed.node.node = {"metadata": {"uid": "x", "labels": {"kubernetes.io/arch": "amd64"}}}

    with pytest.raises(errors.GaveUp, match="choose another nodeName"):
        await bed.beat.register()


async def test_the_lease_is_renewed_whatever_else_happens() -> None:
    """Renewals go on every ten seconds, also after the API server was away."""
    bed = Bed()
    await bed.beat.register()
    async with asyncio.TaskGroup() as group:
        renewing = group.create_task(bed.beat.renew())
        await _until(lambda: bed.clock.sleepers == 1)
        bed.node.answers = False
        bed.clock.advance(10)
        await _until(lambda: bed.clock.sleepers == 1)
        bed.node.answers = True
        bed.clock.advance(1)
        await _until(lambda: bed.clock.sleepers == 1)
        renewing.cancel()

    assert bed.node.renewals == 2


async def test_a_deleted_node_comes_back() -> None:
    """Somebody deletes the Node: the next look makes it again."""
    bed = Bed()
    await bed.beat.register()
    bed.node.node = None
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        await _until(lambda: bed.node.node is not None)
        reporting.cancel()

    assert bed.node.node is not None


async def test_a_change_of_health_is_written_and_nothing_else_is() -> None:
    """The status is written when it says something else than before."""
    bed = Bed()
    await bed.beat.register()
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        await _until(lambda: len(bed.node.statuses) == 1)
        bed.health = node.Health("the runtime is away")
        bed.beat.look_again()
        await _until(lambda: len(bed.node.statuses) == 2)
        reporting.cancel()

    assert ["True", "False"] == [_ready(each) for each in bed.node.statuses]


async def test_labels_say_what_the_engine_runs() -> None:
    """They come when the runtime has spoken, and go with its engine."""
    bed = Bed()
    await bed.beat.register()
    label = "wasm-node.dev/world-wasi-http-p3"

    def labels() -> Mapping[str, str]:
        assert bed.node.node is not None
        return dict(bed.node.node["metadata"]["labels"])

    before = labels()
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        bed.runs("wasi_snapshot_preview1", "wasi:cli/command@0.2", "wasi:http/service@0.3")
        await _until(lambda: labels() == {**before, label: "true"})
        bed.runs("wasi_snapshot_preview1", "wasi:cli/command@0.2")
        await _until(lambda: labels() == before)
        reporting.cancel()


async def test_what_others_said_of_it_is_corrected() -> None:
    """Unknown is what controllers call a node that was away; it is back."""
    bed = Bed()
    await bed.beat.register()
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        await _until(lambda: len(bed.node.statuses) == 1)
        unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
        await bed.node.patch_status({"conditions": [unknown]})
        bed.beat.look_again()
        await _until(lambda: len(bed.node.statuses) == 3)
        reporting.cancel()

    assert "True" == _ready(bed.node.statuses[2])


async def test_a_node_keeps_its_word_until_there_is_news() -> None:
    """An agent that cannot tell yet leaves the status as it is."""
    bed = Bed()
    await bed.beat.register()
    bed.health = None
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        await _until(lambda: bed.asked == 2)  # at registration, and for a report
        bed.health = node.Health("")
        bed.beat.look_again()
        await _until(lambda: len(bed.node.statuses) == 1)
        reporting.cancel()

    assert "True" == _ready(bed.node.statuses[0])


async def test_a_new_node_is_not_ready_before_there_is_news() -> None:
    """Nothing is promised of a runtime that has not been heard of."""
    bed = Bed()
    bed.health = None
    await bed.beat.register()

    assert bed.node.node is not None
    assert "False" == _ready(bed.node.node["status"])


async def test_a_change_during_a_write_is_not_missed() -> None:
    """What changes while a report is under way is reported right after it."""
    bed = Bed()
    await bed.beat.register()
    bed.node.gate.clear()
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        await _until(lambda: bed.asked == 2)  # at registration, and for the report
        bed.health = node.Health("the runtime is away")
        bed.beat.look_again()
        bed.node.gate.set()
        await _until(lambda: len(bed.node.statuses) == 2)
        reporting.cancel()

    assert ["True", "False"] == [_ready(each) for each in bed.node.statuses]


async def test_a_new_node_tells_what_it_has_and_that_it_starts() -> None:
    """As a kubelet: conditions of the new Node but Ready, then Starting."""
    bed = Bed()
    await bed.beat.register()

    assert _noted(bed) == [
        "NodeHasSufficientMemory",
        "NodeHasNoDiskPressure",
        "NodeHasSufficientPID",
        "Starting",
    ]
    assert bed.events.noted[0].message == "Node wasm-a status is now: NodeHasSufficientMemory"
    assert not any(each.warning for each in bed.events.noted)


async def test_a_condition_that_changes_is_told_once() -> None:
    """When it has been written, and not with every report (recordEventFunc)."""
    bed = Bed()
    await bed.beat.register()
    bed.events.noted.clear()
    async with asyncio.TaskGroup() as group:
        reporting = group.create_task(bed.beat.report())
        for health in (
            node.Health("", frozenset({"DiskPressure"})),
            node.Health("", frozenset({"DiskPressure"})),
            node.Health("the runtime is away", frozenset()),
        ):
            asked = bed.asked
            bed.health = health
            bed.beat.look_again()
            await _until(lambda asked=asked: bed.asked > asked)  # type: ignore[misc]
        await _until(lambda: "NodeNotReady" in _noted(bed))
        reporting.cancel()

    assert _noted(bed) == ["NodeHasDiskPressure", "NodeHasNoDiskPressure", "NodeNotReady"]


def _noted(bed: Bed) -> list[str]:
    return [each.reason for each in bed.events.noted]


def _ready(status: Mapping[str, Any]) -> str:
    (ready,) = (each["status"] for each in status["conditions"] if each["type"] == "Ready")
    return str(ready)
