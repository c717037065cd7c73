"""Garbage collection's loop: what no table of the plan can show."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster
from tests.fakes.images import FakeImages
from tests.fakes.resources import FakeResources
from wasm_node.agent.loops import collecting
from wasm_node.agent.model import collection, desired, ids, image, observed, parsing
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.stores import pods
from wasm_node.protocol import messages

RULES = collection.Rules(least_age_s=0.0)


class Bed:
    """A collector over real stores, all else faked."""

    def __init__(self) -> None:
        self.wanted = pods.DesiredStore()
        self.seen = pods.ObservedStore()
        self.images = FakeImages()
        self.resources = FakeResources()
        self.events = cluster.FakeEvents()
        self.clock = clocks.FakeClock()
        self.preparing: list[str] = []
        self.available = 50
        self.collector = self.made(RULES)
        for store in (self.wanted, self.seen):
            store.listed.set()

    def made(self, rules: collection.Rules) -> collecting.Collector:
        """Make a collector by these rules."""
        return collecting.Collector(
            rules,
            self.images,
            self.resources,
            lambda: messages.Level(self.available, 100),
            self.wanted,
            self.seen,
            lambda: tuple(self.preparing),
            self.events,
            self.clock,
        )

    def keep(self, name: str, size: int = 100, used: float = 0.0) -> Digest:
        """Have an image `r/NAME:1`."""
        root = Digest(f"sha256:{name}")
        names = frozenset({f"docker.io/r/{name}:1"})
        self.images.kept[root] = image.Kept(root, names, {root: size}, 0.0, used)
        return root

    def noted(self) -> list[str]:
        """Return the reasons of the node's events."""
        return [each.reason for each in self.events.noted]


@pytest.fixture
def bed() -> Bed:
    """Give an empty bed with a disk that is half full."""
    return Bed()


def _pod(image: str) -> desired.DesiredPod:
    container = {"name": "main", "image": image}
    return parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [container]}})


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_with_room_nothing_goes(bed: Bed) -> None:
    """Nor is the runtime asked for anything."""
    bed.keep("a")
    why = await bed.collector.collect()

    assert (why, len(bed.images.kept), bed.resources.prunes) == ("", 1, 0)


async def test_without_room_enough_goes_with_its_code(bed: Bed) -> None:
    """Down to the low threshold; it is counted and the runtime prunes."""
    bed.available = 10
    first, second = bed.keep("first", 10, used=1.0), bed.keep("second", 10, used=2.0)
    why = await bed.collector.collect()

    assert why == ""
    assert (first in bed.images.kept, second in bed.images.kept) == (False, True)
    assert bed.collector.collected == {"age": 0, "space": 1}
    assert bed.resources.prunes == 1
    assert bed.noted() == []


async def test_code_counts_for_room(bed: Bed) -> None:
    """What the runtime frees is of the same disk."""
    bed.available = 10
    bed.resources.code = {"sha256:m": 10}

    assert await bed.collector.collect() == ""


async def test_too_little_is_told(bed: Bed) -> None:
    """That is a failure, with an event of its own."""
    bed.available = 10
    bed.keep("small", 9)
    why = await bed.collector.collect()

    assert "removing unused images freed 9" in why
    assert bed.noted() == ["FreeDiskSpaceFailed"]


async def test_what_pods_use_stays(bed: Bed) -> None:
    """By name, by what they are made of, and by what is just in hand."""
    bed.available = 0
    named, made, held, free = (bed.keep(name) for name in ("named", "made", "held", "free"))
    bed.wanted.put(_pod("r/named:1"))
    container = observed.ObservedContainer(made_of={0: observed.Made("x", f"r/made@{made}")})
    bed.seen.put(_pod("x").ref.uid, observed.ObservedPod(1.0, {"main": container}))
    bed.preparing = [f"r/held@{held}"]
    await bed.collector.clear()

    assert set(bed.images.kept) == {named, made, held}
    assert bed.images.used == {named, made, held}
    assert free not in bed.images.kept


async def test_what_is_over_keeps_no_image(bed: Bed) -> None:
    """Both halves of a pod are looked at together, and what is known alone."""
    bed.available = 0
    over, alone = bed.keep("over"), bed.keep("alone")
    pod = dataclasses.replace(_pod("r/over:1"), finished=True)
    bed.wanted.put(pod)
    for uid, root in ((pod.ref.uid, over), (ids.PodUid("gone"), alone)):
        made = {0: observed.Made("x", f"r/x@{root}")}
        container = observed.ObservedContainer(made_of=made)
        bed.seen.put(uid, observed.ObservedPod(1.0, {"main": container}))
    await bed.collector.clear()

    assert set(bed.images.kept) == {alone}


async def test_idle_images_go_though_there_is_room(bed: Bed) -> None:
    """Counted apart; code goes after them."""
    bed.keep("idle")
    collector = bed.made(dataclasses.replace(RULES, most_idle_s=60.0))
    await collector.collect()

    assert bed.images.kept == {}
    assert collector.collected == {"age": 1, "space": 0}
    assert bed.resources.prunes == 1


@pytest.mark.parametrize("missing", ["wanted", "seen"])
async def test_nothing_goes_before_all_pods_were_seen(bed: Bed, missing: str) -> None:
    """A pod nobody has told of yet may use anything."""
    listed = {"wanted": bed.wanted.listed, "seen": bed.seen.listed}
    listed[missing].clear()
    bed.available = 0
    bed.keep("a")
    await bed.collector.clear()
    await bed.collector.collect()
    before = len(bed.images.kept)
    listed[missing].set()
    await bed.collector.clear()

    assert (before, len(bed.images.kept)) == (1, 0)


async def test_an_image_that_is_being_pulled_is_not_counted(bed: Bed) -> None:
    """It was chosen, and was wanted after all."""
    bed.images.pulled = {bed.keep("a")}
    await bed.collector.clear()

    assert len(bed.images.kept) == 1
    assert bed.collector.collected == {"age": 0, "space": 0}


async def test_a_runtime_that_is_away_costs_nothing(bed: Bed) -> None:
    """The images have gone, and count."""
    bed.available = 10
    bed.keep("a", 10)
    bed.resources.away = True

    assert await bed.collector.collect() == ""
    assert bed.collector.collected["space"] == 1


async def test_where_nothing_went_it_is_not_looked_again_at_once(bed: Bed) -> None:
    """Ten seconds later it is; where something went, at once."""
    bed.keep("a")
    looks = []
    for seconds in (0, 0, 9.9, 0.1):
        bed.clock.advance(seconds)
        await bed.collector.clear()
        looks.append(bed.images.looks)

    assert looks == [1, 2, 2, 3]


async def test_failures_are_told_from_the_second_on(bed: Bed) -> None:
    """Every five minutes; one that goes well in between begins anew."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bed.collector.run())
        for cannot in ("read-only", "read-only", "", "read-only"):
            await _until(lambda: bed.clock.sleepers == 1)
            bed.images.cannot = cannot
            looks = bed.images.looks
            bed.clock.advance(299)
            await asyncio.sleep(0)
            before = bed.images.looks
            bed.clock.advance(1)
            await _until(lambda looks=looks: bed.images.looks > looks)  # type: ignore[misc]
            assert before == looks
        await _until(lambda: bed.clock.sleepers == 1)
        running.cancel()

    assert bed.noted() == ["ImageGCFailed"]
    assert bed.events.noted[0].message == "read-only"
    assert bed.events.noted[0].warning
