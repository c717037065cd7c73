"""Eviction's loop: what no table of the plan can show."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster
from tests.fakes.images import FakeImages
from tests.fakes.log_store import FakeLogStore
from tests.fakes.resources import FakeResources
from wasm_node.agent.loops import collecting, evicting, expelling
from wasm_node.agent.model import (
    collection,
    desired,
    ids,
    image,
    observed,
    parsing,
    thresholds,
)
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import messages, records

GIB = 1 << 30
RULES = thresholds.Rules(
    thresholds.parse(
        {"memory.available": "100Mi", "nodefs.available": "10%"},
        {"memory.available": "500Mi"},
        {"memory.available": "30s"},
        {},
    ),
    most_pod_grace_s=20.0,
)
LOW, SOFT, HIGH = (messages.Level(mib << 20, GIB) for mib in (50, 300, 900))


class Bed:
    """The loop over real stores, and all else faked."""

    def __init__(self, directory: Path) -> None:
        self.wanted = pods.DesiredStore()
        self.seen = pods.ObservedStore()
        self.kept = checkpoint.Checkpoints(directory)
        self.resources = FakeResources()
        self.logs = FakeLogStore()
        self.events = cluster.FakeEvents()
        self.clock = clocks.FakeClock()
        self.disk: Callable[[], int] = lambda: 50
        self.told = 0
        self.images = FakeImages()
        self.collector = collecting.Collector(
            collection.Rules(),
            self.images,
            self.resources,
            lambda: self._disk()[0],
            self.wanted,
            self.seen,
            lambda: (),
            self.events,
            self.clock,
        )
        for store in (self.wanted, self.seen):
            store.listed.set()
        sources = evicting.Sources(RULES, self.resources, self._disk, self.images)
        self.expeller = expelling.Expeller(self.wanted, self.seen, self.kept, self.events)
        self.evicting = evicting.Evicting(
            sources,
            self.wanted,
            self.seen,
            self.expeller,
            self.logs,
            self.collector,
            self.events,
            self.clock,
        )
        self.evicting.listen(self._tell)

    def _disk(self) -> tuple[messages.Level, messages.Level]:
        return messages.Level(self.disk(), 100), messages.Level(0, 0)

    def _tell(self) -> None:
        self.told += 1

    def run(self, name: str, used: int = 0, **spec: Any) -> ids.PodUid:
        """Have a pod that runs and uses so much memory."""
        pod = _pod(name, **spec)
        attempt = records.AttemptId(pod.ref.uid, "main", 0)
        self.wanted.put(pod)
        container = observed.ObservedContainer(current=observed.Running(attempt, 7, 1.0))
        self.seen.put(pod.ref.uid, observed.ObservedPod(1.0, {"main": container}))
        self.resources.used.append(messages.Share(attempt, used, 1))
        self.resources.running.add(pod.ref.uid)
        return pod.ref.uid

    def end(self, uid: ids.PodUid) -> None:
        """Have its container end."""
        attempt = records.AttemptId(uid, "main", 0)
        record = records.ExitRecord(143, records.EndedBy.STOP, "Error", "", 1, 2)
        ended = observed.Ended(attempt, record)
        self.seen.change(uid, "main", lambda x: dataclasses.replace(x, current=ended))
        self.resources.used = [each for each in self.resources.used if each.id != attempt]
        self.resources.running.discard(uid)

    def evicted(self) -> list[str]:
        """Name the pods that were told to go."""
        found = ((each.ref.name, self.seen.get(each.ref.uid)) for each in self.wanted)
        return sorted(name for name, seen in found if seen and seen.evicted)


def _pod(name: str, **spec: Any) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"containers": [{"name": "main", "image": "x"}], **spec},
        }
    )


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """Give an empty bed with as much of everything as anybody needs."""
    made = Bed(tmp_path)
    made.resources.memory = HIGH
    return made


async def test_one_pod_goes_at_a_time(bed: Bed) -> None:
    """The next one goes when that has ended and it was not enough."""
    bed.resources.memory = LOW
    first, second = bed.run("first", 9), bed.run("second", 5)
    for _ in range(3):
        await bed.evicting.look()
    before = bed.evicted()
    bed.end(first)
    await bed.evicting.look()

    assert (before, bed.evicted()) == (["first"], ["first", "second"])
    assert bed.events.reasons() == ["Evicted", "Evicted"]
    seen = bed.seen.get(second)
    message = bed.events.emitted[1][1].message
    assert seen is not None
    assert seen.evicted == observed.Evicted(message, 1.0, bed.clock.now())


async def test_who_ends_while_it_is_weighed_is_not_evicted(bed: Bed) -> None:
    """It may have done its work well; and what it had may be enough."""
    bed.resources.memory = LOW
    done = bed.run("done", 9)
    bed.run("next", 5)
    shares = bed.resources.shares

    async def ending() -> Sequence[messages.Share]:
        found = await shares()
        bed.end(done)
        return found

    bed.resources.shares = ending  # type: ignore[method-assign]  # as it takes its time
    await bed.evicting.look()

    assert (bed.evicted(), bed.events.reasons()) == ([], [])


async def test_one_that_does_not_go_is_not_waited_for_for_ever(bed: Bed) -> None:
    """After half a minute the next one goes (podCleanupTimeout)."""
    bed.resources.memory = LOW
    bed.run("stuck", 9)
    bed.run("next", 5)
    await bed.evicting.look()
    bed.clock.advance(29)
    await bed.evicting.look()
    before = bed.evicted()
    bed.clock.advance(1)
    await bed.evicting.look()

    assert (before, bed.evicted()) == (["stuck"], ["next", "stuck"])


async def test_one_that_is_late_is_told_of_once(bed: Bed) -> None:
    """Ten seconds after it was told, as killPodNow; not who has ended."""
    bed.resources.memory = LOW
    late = bed.run("late", 9)
    await bed.evicting.look()
    bed.clock.advance(9.9)
    await bed.evicting.look()
    early = bed.events.reasons()
    for _ in range(3):
        bed.clock.advance(0.1)
        await bed.evicting.look()
    told = bed.events.told("late")
    bed.end(late)
    in_time = bed.run("in-time", 5)
    await bed.evicting.look()
    bed.end(in_time)
    bed.clock.advance(11)
    await bed.evicting.look()

    assert early == ["Evicted"]
    said = "Container runtime did not kill the pod within specified grace period."
    assert told[1:] == [("ExceededGracePeriod", said)]
    assert [reason for reason, _ in bed.events.told("in-time")] == ["Evicted"]


async def test_one_with_a_grace_has_half_as_long_again(bed: Bed) -> None:
    """Of what it was given: no more than evictionMaxPodGracePeriod."""
    bed.resources.memory = SOFT
    bed.run("late", 9, terminationGracePeriodSeconds=60)
    for wait_s in (0, 30, 29.9):
        bed.clock.advance(wait_s)
        await bed.evicting.look()
    early = bed.events.reasons()
    bed.clock.advance(0.1)
    await bed.evicting.look()

    assert (early, bed.events.reasons()) == (["Evicted"], ["Evicted", "ExceededGracePeriod"])


async def test_evictions_are_counted(bed: Bed) -> None:
    """By what the node was short of, as kubelet_evictions has it."""
    bed.resources.memory = LOW
    bed.run("p", 9)
    before = dict(bed.expeller.evictions)
    await bed.evicting.look()
    await bed.evicting.look()

    assert set(before.values()) == {0}
    assert bed.expeller.evictions == before | {"memory.available": 1}


async def test_who_goes_for_its_own_limit_is_waited_for(bed: Bed) -> None:
    """What it leaves may be enough; then nobody else has to go."""
    bed.resources.memory = LOW
    over, other = bed.run("over", 1), bed.run("other", 9)
    bed.evicting.await_end(over)
    await bed.evicting.look()
    before = bed.evicted()
    bed.wanted.drop(over)
    await bed.evicting.look()

    assert (before, bed.evicted()) == ([], ["other"])
    assert other in bed.resources.running


async def test_it_is_on_disk_before_it_is_told(bed: Bed, tmp_path: Path) -> None:
    """An agent that is killed right after that goes on with the eviction."""
    bed.resources.memory = LOW
    uid = bed.run("p", 9)
    change = bed.kept.change
    already: list[list[str]] = []

    def first(
        ref: ids.PodRef,
        known: observed.ObservedPod,
        wanted: Callable[[observed.ObservedPod], observed.ObservedPod],
    ) -> None:
        already.append(bed.evicted())
        change(ref, known, wanted)

    bed.kept.change = first  # type: ignore[assignment,method-assign]  # to see what was told by then
    await bed.evicting.look()
    kept = await asyncio.to_thread(checkpoint.Checkpoints(tmp_path).load, uid)
    seen = bed.seen.get(uid)

    assert already == [[]]
    assert kept is not None
    assert seen is not None
    assert kept.evicted == seen.evicted
    assert seen.evicted is not None


async def test_a_disk_without_any_room_keeps_no_pod(bed: Bed, tmp_path: Path) -> None:
    """It is told to go all the same; on disk it is as soon as that can be."""
    bed.disk = lambda: 5
    uid = bed.run("p")
    (tmp_path / uid).touch()  # where its directory would be made
    await bed.evicting.look()
    told, reasons = bed.evicted(), bed.events.reasons()
    bed.disk = lambda: 50
    await bed.evicting.look()
    early = await asyncio.to_thread(bed.kept.load, uid)
    (tmp_path / uid).unlink()
    await bed.evicting.look()
    kept = await asyncio.to_thread(bed.kept.load, uid)
    seen = bed.seen.get(uid)

    assert (told, reasons) == (["p"], ["Evicted"])
    assert early is None
    assert kept is not None
    assert seen is not None
    assert kept.evicted == seen.evicted


async def test_what_is_deleted_is_not_noted_afterwards(bed: Bed, tmp_path: Path) -> None:
    """Nothing of it is left on disk for an eviction that had no room."""
    bed.disk = lambda: 5
    uid = bed.run("p")
    (tmp_path / uid).touch()
    await bed.evicting.look()
    told = bed.evicted()
    bed.wanted.put(dataclasses.replace(_pod("p"), deleting=True))
    (tmp_path / uid).unlink()
    await bed.evicting.look()

    assert told == ["p"]
    assert not (tmp_path / uid).exists()


async def test_what_goes_for_another_reason_is_not_counted(bed: Bed) -> None:
    """It was told to go while this eviction was being noted; that one stays."""
    bed.resources.memory = LOW
    uid = bed.run("p", 9)
    other = observed.Evicted("for another", 30.0, 1.0, "Preempting", "likewise")
    change = bed.kept.change

    def meanwhile(
        ref: ids.PodRef,
        known: observed.ObservedPod,
        wanted: Callable[[observed.ObservedPod], observed.ObservedPod],
    ) -> None:
        change(ref, known, lambda x: dataclasses.replace(x, evicted=other))
        change(ref, known, wanted)
        before = bed.seen.get(uid)
        assert before is not None
        bed.seen.put(uid, dataclasses.replace(before, evicted=other))

    bed.kept.change = meanwhile  # type: ignore[assignment,method-assign]  # to be in between
    await bed.evicting.look()
    kept, seen = await asyncio.to_thread(bed.kept.load, uid), bed.seen.get(uid)

    assert kept is not None
    assert seen is not None
    assert (kept.evicted, seen.evicted) == (other, other)
    assert bed.events.reasons() == []


async def test_critical_pods_stay(bed: Bed) -> None:
    """However much they use; a pod behind them goes instead, or nobody."""
    bed.resources.memory = LOW
    critical = records.CRITICAL_PRIORITY
    bed.run("critical", 999, priority=critical, containers=[{"name": "main", "image": "x"}])
    await bed.evicting.look()
    alone = bed.evicted()
    bed.run("other", 1)
    await bed.evicting.look()

    assert (alone, bed.evicted()) == ([], ["other"])


async def test_a_soft_threshold_waits_and_gives_time(bed: Bed) -> None:
    """Its grace period first; then the pod has as long as was set."""
    bed.resources.memory = SOFT
    uid = bed.run("p", 9)
    await bed.evicting.look()
    early, told = bed.evicted(), bed.evicting.conditions
    bed.clock.advance(30)
    await bed.evicting.look()
    seen = bed.seen.get(uid)

    assert (early, told) == ([], frozenset({"MemoryPressure"}))
    assert seen is not None
    assert seen.evicted is not None
    assert seen.evicted.grace_s == 20.0


async def test_the_dead_make_room_first(bed: Bed) -> None:
    """Volumes and logs of what is over; with that enough, nobody goes."""
    dead, alive = _pod("dead"), bed.run("alive")
    bed.wanted.put(dataclasses.replace(dead, finished=True))
    bed.seen.put(dead.ref.uid, observed.ObservedPod(1.0))
    bed.disk = lambda: 50 if bed.resources.released else 5
    await bed.evicting.look()
    enough = bed.evicted()
    bed.disk = lambda: 5
    await bed.evicting.look()

    assert [dead.ref.uid] == bed.resources.released
    assert [dead.ref] == bed.logs.removed
    assert (enough, bed.evicted()) == ([], ["alive"])
    assert alive not in bed.resources.released


def _unused(name: str = "sha256:unused", size: int = 9) -> image.Kept:
    root = ids.Digest(name)
    return image.Kept(root, frozenset({"r/unused:1"}), {root: size}, 0.0, 0.0)


async def test_unused_images_make_room_first(bed: Bed) -> None:
    """With that enough, nobody goes; a pod's own image stays."""
    bed.run("alive")
    unused = _unused()
    used = image.Kept(ids.Digest("sha256:x"), frozenset({"docker.io/library/x:latest"}), {}, 0, 0)
    bed.images.kept = {each.root: each for each in (unused, used)}
    bed.disk = lambda: 5 if unused.root in bed.images.kept else 50
    await bed.evicting.look()

    assert list(bed.images.kept) == [used.root]
    assert bed.evicted() == []
    assert bed.events.reasons() == []
    assert [each.reason for each in bed.events.noted] == ["EvictionThresholdMet"]
    assert bed.events.noted[0].message == "Attempting to reclaim ephemeral-storage"
    assert bed.events.noted[0].warning


async def test_compiled_code_makes_room_first(bed: Bed) -> None:
    """Though no image can go: of modules that are gone, it is freed."""
    bed.run("alive")
    bed.resources.code = {"sha256:gone": 9}
    bed.disk = lambda: 5 if bed.resources.code else 50
    await bed.evicting.look()

    assert bed.evicted() == []


async def test_logs_of_earlier_attempts_make_room_first(bed: Bed) -> None:
    """Of what has been followed by another attempt; the last one's stay."""
    uid = bed.run("alive")
    running = observed.Running(records.AttemptId(uid, "main", 3), 7, 1.0)
    bed.seen.change(uid, "main", lambda x: dataclasses.replace(x, current=running))
    bed.disk = lambda: 50 if bed.logs.oldest else 5
    await bed.evicting.look()

    assert list(bed.logs.oldest.values()) == [3]
    assert bed.evicted() == []


async def test_a_soft_threshold_of_the_disk_has_room_made_too(bed: Bed) -> None:
    """And a threshold that is still met after that costs a pod."""
    bed.run("alive")
    bed.images.kept = {(unused := _unused()).root: unused}
    bed.disk = lambda: 5
    await bed.evicting.look()

    assert bed.images.kept == {}
    assert bed.evicted() == ["alive"]


async def test_images_are_no_help_against_a_shortage_of_memory(bed: Bed) -> None:
    """What lies on the disk stays; the attempt is told all the same."""
    bed.resources.memory = LOW
    bed.run("alive", 9)
    bed.images.kept = {(unused := _unused()).root: unused}
    await bed.evicting.look()

    assert bed.images.looks == 0
    assert [each.message for each in bed.events.noted] == ["Attempting to reclaim memory"]
    assert bed.evicted() == ["alive"]


async def test_images_that_cannot_be_removed_keep_no_pod(bed: Bed) -> None:
    """A read-only disk must not stop evictions."""
    bed.run("alive")
    bed.images.cannot = "the file system is read-only"
    bed.disk = lambda: 5
    await bed.evicting.look()

    assert bed.evicted() == ["alive"]


async def test_attempts_are_told_as_often_as_by_a_kubelet(bed: Bed) -> None:
    """Every ten seconds while there is pressure, however often it is looked."""
    bed.disk = lambda: 5
    for seconds in (0, 1, 8, 0.5, 0.5, 5):
        bed.clock.advance(seconds)
        await bed.evicting.look()

    assert len(bed.events.noted) == 2
    assert bed.images.looks == 2  # there was nothing: likewise


async def test_a_pod_whose_disk_nobody_can_tell_goes_first(bed: Bed) -> None:
    """As on a kubelet; and the others are weighed by logs and volumes."""
    bed.disk = lambda: 5
    large = bed.run("large")
    bed.run("small")
    bed.logs.sizes[large] = {"main": messages.DiskUse(1 << 20, 9)}
    bed.resources.disks[large] = messages.PodDisk({"data": messages.DiskUse(1 << 20, 9)})
    await bed.evicting.look()

    assert bed.evicted() == ["large"]
    message = bed.events.emitted[0][1].message
    assert "Container main was using 1Mi, request is 0" in message


async def test_a_runtime_that_is_away_costs_no_pod(bed: Bed) -> None:
    """What cannot be told is no pressure; the disk is looked at still."""
    bed.resources.memory = LOW
    bed.run("p", 9)
    bed.resources.away = True
    await bed.evicting.look()
    without = bed.evicting.conditions
    bed.disk = lambda: 5
    await bed.evicting.look()

    assert without == frozenset()
    assert bed.evicting.conditions == frozenset({"DiskPressure"})


async def test_changes_are_told_once(bed: Bed) -> None:
    """The node's status is looked at again when there is news, and not else."""
    for memory in (HIGH, HIGH, LOW, LOW, HIGH):
        bed.resources.memory = memory
        await bed.evicting.look()

    assert bed.told == 2  # that there is none, and that there is
