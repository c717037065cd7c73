"""Storage limits' loop: what no table of the plan can show."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster
from tests.fakes.log_store import FakeLogStore
from tests.fakes.resources import FakeResources
from wasm_node.agent.loops import expelling, limiting
from wasm_node.agent.model import ids, observed, parsing
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import messages, records

MIB = 1 << 20


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
        self.told: list[ids.PodUid] = []
        self.expeller = expelling.Expeller(self.wanted, self.seen, self.kept, self.events)
        self.limiting = limiting.Limiting(
            self.resources,
            self.wanted,
            self.seen,
            self.expeller,
            self.logs,
            self.clock,
            self.told.append,
        )

    def run(self, name: str, used: int, *, size: str | None = "1Mi") -> ids.PodUid:
        """Have a pod that runs and has so much in a volume of that size."""
        limit = {} if size is None else {"sizeLimit": size}
        raw: dict[str, Any] = {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {
                "containers": [{"name": "main", "image": "x"}],
                "volumes": [{"name": "data", "emptyDir": limit}],
            },
        }
        pod = parsing.pod(raw)
        self.wanted.put(pod)
        running = observed.Running(records.AttemptId(pod.ref.uid, "main", 0), 7, 1.0)
        main = observed.ObservedContainer(current=running)
        self.seen.put(pod.ref.uid, observed.ObservedPod(1.0, {"main": main}))
        disk = messages.DiskUse(used, 1)
        self.resources.disks[pod.ref.uid] = messages.PodDisk({"data": disk})
        return pod.ref.uid

    def evicted(self, uid: ids.PodUid) -> observed.Evicted | None:
        """Return why a pod has to go."""
        seen = self.seen.get(uid)
        assert seen is not None
        return seen.evicted


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """Give an empty bed."""
    return Bed(tmp_path)


async def test_who_is_over_goes(bed: Bed) -> None:
    """All who are, at once, for good; who is within stays."""
    over = [bed.run(name, MIB + 1) for name in ("a", "b")]
    within = bed.run("c", MIB)
    await bed.limiting.look()
    await bed.limiting.look()

    why = 'Usage of EmptyDir volume "data" exceeds the limit "1Mi". '
    expected = observed.Evicted(why, 1.0, bed.clock.now(), "Evicted", disruption=None)
    assert [bed.evicted(each) for each in over] == [expected, expected]
    assert bed.evicted(within) is None
    assert bed.told == over
    assert bed.expeller.evictions["emptydirfs.limit"] == 2
    assert [(each.reason, each.message) for _, each in bed.events.emitted] == [("Evicted", why)] * 2


async def test_it_stays_so_without_the_agent(bed: Bed, tmp_path: Path) -> None:
    """It is on disk that the pod was evicted, and that it is its own doing."""
    uid = bed.run("p", MIB + 1)
    await bed.limiting.look()
    kept = await asyncio.to_thread(checkpoint.Checkpoints(tmp_path).load, uid)

    assert kept is not None
    assert kept.evicted == bed.evicted(uid)
    assert kept.evicted is not None
    assert kept.evicted.disruption is None


async def test_logs_and_last_words_count(bed: Bed) -> None:
    """They are a container's own."""
    uid = bed.run("p", 0, size=None)
    raw = {"name": "main", "image": "x", "resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    meta = {"name": "p", "uid": uid}
    bed.wanted.put(parsing.pod({"metadata": meta, "spec": {"containers": [raw]}}))
    half = messages.DiskUse(MIB // 2, 1)
    bed.resources.disks[uid] = messages.PodDisk({}, {"main": half})
    bed.logs.sizes[uid] = {"main": half}
    await bed.limiting.look()
    exactly = bed.evicted(uid)
    bed.logs.sizes[uid] = {"main": messages.DiskUse(MIB // 2 + 1, 1)}
    await bed.limiting.look()

    assert exactly is None
    assert bed.evicted(uid) is not None


async def test_pods_without_limits_cost_nothing(bed: Bed) -> None:
    """What they have on the disk is not asked for."""
    bed.run("free", 99 * MIB, size=None)
    limited = bed.run("limited", 1)
    await bed.limiting.look()

    assert bed.resources.weighed == [limited]


async def test_what_nobody_can_tell_costs_no_pod(bed: Bed) -> None:
    """A runtime that is away is asked again."""
    uid = bed.run("p", MIB + 1)
    bed.resources.away = True
    await bed.limiting.look()
    before = bed.evicted(uid)
    bed.resources.away = False
    await bed.limiting.look()

    assert before is None
    assert bed.evicted(uid) is not None


async def test_who_has_done_its_work_meanwhile_is_not_evicted(bed: Bed) -> None:
    """It ended while it was looked at: that is how it ended."""
    uid = bed.run("p", MIB + 1)
    disk = bed.resources.disk

    async def ends(pod: ids.PodUid) -> messages.PodDisk:
        bed.seen.put(uid, observed.ObservedPod(1.0))
        return await disk(pod)

    bed.resources.disk = ends  # type: ignore[method-assign]  # to be in between
    await bed.limiting.look()

    assert bed.evicted(uid) is None
    assert bed.told == []


async def test_too_much_to_look_at_is_said_once(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """What was seen of it is within its limit; the rest nobody knows."""
    uid = bed.run("p", 0)
    part = messages.DiskUse(9, 500_000, whole=False)
    bed.resources.disks[uid] = messages.PodDisk({"data": part})
    for _ in range(2):
        await bed.limiting.look()

    assert bed.evicted(uid) is None
    assert [each.getMessage() for each in caplog.records] == [
        "Pod default/p has more files than can be looked at: it may be over a limit"
    ]


async def test_it_looks_as_often_as_a_kubelet(bed: Bed) -> None:
    """Every ten seconds; or less often, if looking takes longer than that."""
    bed.run("p", 0)
    bed.seen.listed.set()
    at: list[float] = []
    disk = bed.resources.disk

    async def takes_time(pod: ids.PodUid) -> messages.PodDisk:
        at.append(bed.clock.monotonic() - began)
        bed.clock.advance(25.0 if len(at) == 2 else 0.0)
        return await disk(pod)

    async def rests() -> None:
        while not bed.clock.sleepers:
            await asyncio.sleep(0.001)

    bed.resources.disk = takes_time  # type: ignore[method-assign]  # as a large one does
    began = bed.clock.monotonic()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bed.limiting.run())
        for seconds in (10, 24, 1, 10):
            await rests()
            bed.clock.advance(seconds)
        await rests()
        task.cancel()

    assert at == [0, 10, 60, 70]
