"""Pods that come, judged by the Node as known and rejected by it as it is."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fakes import cluster
from tests.fakes.clock import FakeClock, settle
from wasm_node.agent import errors
from wasm_node.agent.loops import admitting
from wasm_node.agent.model import desired, environment, ids, observed, parsing
from wasm_node.agent.stores import pods

UID = ids.pod_uid("uid-p")
SSD = {"nodeSelector": {"disk": "ssd"}}
TAINT = {"key": "leaving", "effect": "NoExecute"}


def pod(status: Mapping[str, Any] | None = None, **spec: Any) -> desired.DesiredPod:
    """Return a pod of one container."""
    uid = spec.pop("uid", UID)
    deleted = {"deletionTimestamp": "2027-01-15T08:00:00Z"} if spec.pop("deleted", False) else {}
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": uid, **deleted},
            "spec": {"containers": [{"name": "main", "image": "x"}], **spec},
            "status": status or {},
        }
    )


class Node(cluster.FakeNode):
    """One that counts how often it was asked for, and may be slow to say."""

    asked = 0
    slow: asyncio.Event | None = None

    async def get(self) -> dict[str, Any] | None:
        """Count, and return what it is now, late."""
        self.asked += 1
        known, found = self._known, await super().get()
        if self.slow:
            self._known = known
            await self.slow.wait()
            await asyncio.sleep(0)  # as whatever comes over a network
            self._known = found
        return found

    def has(self, *taints: Mapping[str, str], **labels: str) -> None:
        """Be changed by others."""
        assert self.node is not None
        self.node["metadata"]["labels"], self.node["spec"]["taints"] = labels, [*taints]


class Bed:
    """An admitter of a node that was read once, by its heartbeat."""

    def __init__(self) -> None:
        self.room: environment.Allocatable | None = environment.Allocatable(1000, 2**30, 9)
        self.pressures = frozenset[str]()
        self.ending = False
        self.wanted, self.seen = pods.DesiredStore(), pods.ObservedStore()
        self.clock = FakeClock()
        self.node = Node.standing()
        self.admitter = self._admitter(self.node)

    def _admitter(self, node: Node | None) -> admitting.Admitter:
        return admitting.Admitter(
            self.wanted,
            self.seen,
            node,
            lambda: self.room,
            lambda: self.pressures,
            lambda: self.ending,
            self.clock,
        )

    async def take_in(self, wanted: desired.DesiredPod, *, node: bool = True) -> str:
        """Take a pod in; return the reason, if it was rejected."""
        self.wanted.put(wanted)
        admitter = self.admitter if node else self._admitter(None)
        rejected = await admitter.take_in(wanted)
        seen = self.seen.get(wanted.ref.uid)
        assert seen is not None
        assert seen.rejected == rejected
        return rejected.reason if rejected else ""


@pytest.fixture
async def bed() -> Bed:
    """Give one of a Node without labels and taints."""
    made = Bed()
    await made.node.get()
    made.node.asked = 0
    return made


@pytest.mark.parametrize(
    ("spec", "known", "now", "reason", "asked"),
    [
        (SSD, ([], {"disk": "ssd"}), ([], {}), "", 0),
        (SSD, ([], {}), ([], {"disk": "ssd"}), "", 1),
        (SSD, ([], {}), ([], {}), "NodeAffinity", 1),
        ({}, ([TAINT], {}), ([], {}), "", 1),
        ({}, ([TAINT], {}), ([TAINT], {}), "TaintToleration", 1),
        (SSD, ([], {}), ([TAINT], {"disk": "ssd"}), "TaintToleration", 1),
        ({"os": {"name": "linux"}}, ([], {}), ([], {}), "PodOSNotSupported", 0),
    ],
)
async def test_the_node_is_read_once_more_before_a_pod_is_rejected_for_it(
    bed: Bed,
    spec: dict[str, Any],
    known: tuple[list[Mapping[str, str]], dict[str, str]],
    now: tuple[list[Mapping[str, str]], dict[str, str]],
    reason: str,
    asked: int,
) -> None:
    """As the kubelet's generalFilter; what it takes in, it takes in unasked."""
    bed.node.has(*known[0], **known[1])
    await bed.node.get()
    bed.node.has(*now[0], **now[1])
    bed.node.asked = 0

    assert (await bed.take_in(pod(**spec)), bed.node.asked) == (reason, asked)


async def test_a_pod_waits_while_the_node_cannot_be_read(bed: Bed) -> None:
    """What is known would reject it: it is neither taken in nor Failed."""
    bed.node.answers = False
    with pytest.raises(errors.Retryable):
        await bed.take_in(pod(**SSD))
    assert bed.seen.get(UID) is None

    bed.node.answers = True
    bed.node.has(disk="ssd")
    assert await bed.take_in(pod(**SSD)) == ""


async def test_pods_that_come_together_share_a_look_at_the_node(bed: Bed) -> None:
    """None that began before they came: it may not see what was just set."""
    bed.node.slow = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        early = group.create_task(bed.take_in(pod(uid="early", **SSD)))
        await settle()
        bed.node.has(disk="ssd")
        late = [group.create_task(bed.take_in(pod(uid=f"late{n}", **SSD))) for n in range(5)]
        await settle()
        bed.node.slow.set()

    assert early.result() == "NodeAffinity"
    assert [each.result() for each in late] == [""] * 5
    assert bed.node.asked == 2


async def test_a_pod_waits_while_there_is_no_node(bed: Bed) -> None:
    """Somebody has deleted it; it is made again, and then the pod is judged."""
    node, bed.node.node = bed.node.node, None
    await bed.node.get()
    with pytest.raises(errors.NotFound):
        await bed.take_in(pod())
    assert bed.seen.get(UID) is None

    bed.node.node = node
    assert await bed.take_in(pod()) == ""


@pytest.mark.parametrize(
    "spec",
    [
        {"status": {"startTime": "2027-01-15T07:00:00Z", "phase": "Running"}, **SSD},
        {"status": {"phase": "Failed"}, **SSD},
        {"deleted": True, **SSD},
    ],
)
async def test_who_is_not_judged(bed: Bed, spec: dict[str, Any]) -> None:
    """Who was taken in before, is over, or goes: with no Node to be read."""
    bed.node.answers = False
    status = spec.pop("status", {})

    assert await bed.take_in(pod(status, **spec)) == ""
    assert bed.seen.get(UID) == observed.ObservedPod(
        1_799_996_400.0 if "startTime" in status else 1_800_000_000.0
    )


async def test_without_a_node_any_pod_is_taken_in(bed: Bed) -> None:
    """As by `wasm-node run`: there is nothing that it could not match."""
    bed.room = environment.Allocatable(0, 0, 0)

    assert await bed.take_in(pod(os={"name": "linux"}, **SSD), node=False) == ""


async def test_pressure_is_told_first(bed: Bed) -> None:
    """As the kubelet asks its eviction manager before all others."""
    bed.pressures = frozenset({"DiskPressure"})

    assert (await bed.take_in(pod(**SSD)), bed.node.asked) == ("Evicted", 0)


async def test_who_was_rejected_takes_no_room(bed: Bed) -> None:
    """What was taken in does, even before it has begun."""
    bed.room = environment.Allocatable(1000, 2**30, 1)
    last = ""
    for name, spec in (("a", SSD), ("b", {}), ("c", {})):
        raw = {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"containers": [{"name": "main", "image": "x"}], **spec},
        }
        last += f" {name}:" + await bed.take_in(parsing.pod(raw))

    assert last == " a:NodeAffinity b: c:OutOfpods"


async def test_a_node_that_shuts_down_takes_nothing(bed: Bed) -> None:
    """It is the last question, as it is a kubelet's (NewMainKubelet)."""
    bed.ending = True
    fits = await bed.take_in(pod())
    bed.seen.drop(UID)
    bed.pressures = frozenset({"MemoryPressure"})
    pressed = await bed.take_in(pod())

    assert (fits, pressed) == ("NodeShutdown", "Evicted")
