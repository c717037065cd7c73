"""Pods that come, judged by the Node as known and rejected by it as it is."""

import asyncio
import contextlib
import dataclasses
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import cluster
from tests.fakes.clock import FakeClock, settle
from wasm_node.agent import errors
from wasm_node.agent.loops import admitting, expelling
from wasm_node.agent.model import desired, environment, ids, observed, parsing
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import records

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

    def __init__(self, directory: Path) -> None:
        self.kept = checkpoint.Checkpoints(directory)
        self.events = cluster.FakeEvents()
        self.room: environment.Allocatable | None = environment.Allocatable(1000, 2**30, 9)
        self.pressures = frozenset[str]()
        self.ending = False
        self.wanted, self.seen = pods.DesiredStore(), pods.ObservedStore()
        self.clock = FakeClock()
        self.node = Node.standing()
        self.expeller = expelling.Expeller(self.wanted, self.seen, self.kept, self.events)
        self.admitter = self._admitter(self.node)

    def _admitter(self, node: Node | None) -> admitting.Admitter:
        return admitting.Admitter(
            self.wanted,
            self.seen,
            node,
            lambda: self.room,
            lambda: self.pressures,
            lambda: self.ending,
            self.expeller,
            self.clock,
        )

    def run(self, name: str, **spec: Any) -> desired.DesiredPod:
        """Have a pod that was taken in, and runs."""
        made = named(name, **spec)
        attempt = records.AttemptId(made.ref.uid, "main", 0)
        container = observed.ObservedContainer(current=observed.Running(attempt, 7, 1.0))
        self.wanted.put(made)
        self.seen.put(made.ref.uid, observed.ObservedPod(1.0, {"main": container}))
        return made

    def end(self, ended: desired.DesiredPod) -> None:
        """Have all of a pod end."""
        attempt = records.AttemptId(ended.ref.uid, "main", 0)
        record = records.ExitRecord(143, records.EndedBy.STOP, "Error", "", 1, 2)
        fact = observed.Ended(attempt, record)
        self.seen.change(ended.ref.uid, "main", lambda x: dataclasses.replace(x, current=fact))

    def evicted(self) -> list[str]:
        """Name the pods that were told to go."""
        found = ((each.ref.name, self.seen.get(each.ref.uid)) for each in self.wanted)
        return sorted(name for name, seen in found if seen and seen.evicted)

    @contextlib.asynccontextmanager
    async def coming(self, wanted: desired.DesiredPod) -> AsyncIterator["asyncio.Task[str]"]:
        """Give a critical pod that is taken in once others have ended."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.take_in(wanted))
            await until(lambda: self.clock.sleepers > 0)
            yield task
            await task

    async def take_in(self, wanted: desired.DesiredPod, *, node: bool = True) -> str:
        """Take a pod in; return the reason, if it was rejected."""
        self.wanted.put(wanted)
        admitter = self.admitter if node else self._admitter(None)
        rejected = await admitter.take_in(wanted)
        seen = self.seen.get(wanted.ref.uid)
        assert seen is not None
        assert seen.rejected == rejected
        return rejected.reason if rejected else ""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what threads have part in."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.contextmanager
def _calls() -> Iterator[list[str]]:
    """Give the names of functions that this thread calls, also those of C."""
    found: list[str] = []

    def note(frame: types.FrameType, event: str, function: Any) -> None:
        if event.endswith("call"):
            found.append(frame.f_code.co_qualname if event == "call" else repr(function))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _asking(cpu: str) -> dict[str, Any]:
    return {"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}


def named(name: str, **spec: Any) -> desired.DesiredPod:
    """Return a pod of that name."""
    made = pod(uid=f"uid-{name}", **spec)
    return dataclasses.replace(made, ref=dataclasses.replace(made.ref, name=name))


@pytest.fixture
async def bed(tmp_path: Path) -> Bed:
    """Give one of a Node without labels and taints."""
    made = Bed(tmp_path)
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


ONE = environment.Allocatable(1000, 2**30, 1)
TWO = environment.Allocatable(1000, 2**30, 2)
CRITICAL: dict[str, Any] = {"priority": records.CRITICAL_PRIORITY}
PREEMPTED = "Preempted in order to admit critical pod"


async def test_a_critical_pod_comes_when_another_has_ended(bed: Bed) -> None:
    """That one is told to go, has its own time, and is waited for."""
    bed.room = ONE
    victim = bed.run("victim", terminationGracePeriodSeconds=7)
    async with bed.coming(pod(**CRITICAL)) as coming:
        await bed.clock.go_on(1)
        early = coming.done()
        bed.end(victim)
        await bed.clock.go_on(1)
    seen = bed.seen.get(victim.ref.uid)
    kept = await asyncio.to_thread(bed.kept.load, victim.ref.uid)

    assert (early, coming.result()) == (False, "")
    assert [name for name, count in bed.expeller.preemptions.items() if count] == ["pods"]
    assert not any(bed.expeller.evictions.values())
    assert bed.events.told("victim") == [("Preempting", PREEMPTED)]
    assert bed.events.emitted[0][1].warning
    assert kept is not None
    assert seen is not None
    assert (
        kept.evicted
        == seen.evicted
        == observed.Evicted(
            PREEMPTED,
            7.0,
            1_800_000_000.0,
            "Preempting",
            "Pod was preempted by Kubelet to accommodate a critical pod.",
        )
    )


async def test_an_end_is_not_waited_for_for_ever(bed: Bed) -> None:
    """Half as long again as it has; then it is told, and the pod is in."""
    bed.room = ONE
    bed.run("victim", terminationGracePeriodSeconds=20)
    async with bed.coming(pod(**CRITICAL)) as coming:
        await bed.clock.go_on(29.9)
        early = coming.done()
        await bed.clock.go_on(0.1)

    assert (early, coming.result()) == (False, "")
    assert bed.events.reasons() == ["Preempting", "ExceededGracePeriod"]


async def test_one_that_has_not_begun_can_go_at_once(bed: Bed) -> None:
    """There is nothing of it to wait for."""
    bed.room = ONE
    waiting = named("waiting")
    bed.wanted.put(waiting)
    bed.seen.put(waiting.ref.uid, observed.ObservedPod(1.0))

    assert await bed.take_in(pod(**CRITICAL)) == ""
    assert bed.evicted() == ["waiting"]


async def test_who_comes_meanwhile(bed: Bed) -> None:
    """What fits is taken in at once; for whom there is no room, waits."""
    bed.room = environment.Allocatable(1000, 2**30, 9)
    cpu, less = [_asking("600m")], [_asking("400m")]
    victim = bed.run("victim", containers=cpu)
    async with bed.coming(named("critical", containers=cpu, **CRITICAL)):
        small = await bed.take_in(named("small"))
        other = await bed.take_in(named("other", **SSD))
        async with asyncio.TaskGroup() as group:
            fits = group.create_task(bed.take_in(named("fits", containers=less)))
            late = group.create_task(bed.take_in(named("late", containers=cpu)))
            await settle()
            waiting = not (fits.done() or late.done())
            bed.end(victim)
            await bed.clock.go_on(1)

    assert (small, other, waiting) == ("", "NodeAffinity", True)
    assert (fits.result(), late.result()) == ("", "OutOfcpu")
    assert bed.evicted() == ["victim"]


async def test_who_waits_for_that_can_be_deleted(bed: Bed) -> None:
    """At once, however long the others take to end."""
    bed.room = ONE
    bed.run("victim", terminationGracePeriodSeconds=3600)
    late = named("late")
    async with bed.coming(named("critical", **CRITICAL)):
        async with asyncio.TaskGroup() as group:
            coming = group.create_task(bed.take_in(late))
            await settle()
            waiting = not coming.done()
            bed.wanted.put(late.ending(30.0))
            await bed.clock.go_on(1)
        bed.wanted.put(named("critical", **CRITICAL).ending(0.0))
        await bed.clock.go_on(1)

    assert (waiting, coming.result()) == (True, "")


async def test_critical_pods_come_one_after_the_other(bed: Bed) -> None:
    """The second one does not count on what ends for the first."""
    bed.room = ONE
    victim = bed.run("victim")
    async with bed.coming(named("first", **CRITICAL)) as first, asyncio.TaskGroup() as group:
        second = group.create_task(bed.take_in(named("second", **CRITICAL)))
        await settle()
        bed.end(victim)
        await bed.clock.go_on(1)

    assert (first.result(), second.result()) == ("", "UnexpectedAdmissionError")
    assert bed.evicted() == ["victim"]


async def test_nobody_waits_for_a_pod_that_is_deleted_meanwhile(bed: Bed) -> None:
    """It is let in to be ended; who was told to go, goes."""
    bed.room = ONE
    bed.run("victim")
    critical = pod(**CRITICAL)
    async with bed.coming(critical) as coming:
        bed.wanted.put(critical.ending(0.0))
        await bed.clock.go_on(0.1)

    assert coming.result() == ""
    assert bed.events.reasons() == ["Preempting"]


async def test_nobody_ends_for_a_pod_that_was_deleted_while_it_waited(bed: Bed) -> None:
    """The Node may take its time to be read."""
    bed.room = ONE
    bed.run("victim")
    bed.node.slow = asyncio.Event()
    critical = pod(**CRITICAL)
    async with asyncio.TaskGroup() as group:
        coming = group.create_task(bed.take_in(critical))
        await until(lambda: bed.node.asked > 0)
        bed.wanted.put(critical.ending(0.0))
        bed.node.slow.set()

    assert (coming.result(), bed.evicted()) == ("", [])


async def test_nobody_ends_for_labels_that_have_changed(bed: Bed) -> None:
    """The Node is read once more before, too."""
    bed.room = ONE
    bed.run("victim")
    bed.node.has(TAINT)

    assert await bed.take_in(pod(**CRITICAL)) == "TaintToleration"
    assert bed.evicted() == []


async def test_nobody_ends_on_a_node_that_shuts_down(bed: Bed) -> None:
    """The pod would not be taken in after that, either."""
    bed.room, bed.ending = ONE, True
    bed.run("victim")

    assert await bed.take_in(pod(**CRITICAL)) == "NodeShutdown"
    assert bed.evicted() == []


async def test_the_next_agent_sends_nobody_else_away(bed: Bed) -> None:
    """The one before was killed when it had told one to go."""
    bed.room = TWO
    bed.run("cheaper")
    told = bed.run("dearer", containers=[_asking("100m")])
    seen = bed.seen.get(told.ref.uid)
    assert seen is not None
    why = observed.Evicted(PREEMPTED, 5.0, 1.0, "Preempting")
    bed.seen.put(told.ref.uid, dataclasses.replace(seen, evicted=why))
    async with bed.coming(pod(**CRITICAL)) as coming:
        bed.end(told)
        await bed.clock.go_on(1)

    assert coming.result() == ""
    assert bed.evicted() == ["dearer"]
    assert bed.events.reasons() == []


async def test_nobody_ends_before_all_are_known(bed: Bed) -> None:
    """Right after a start an agent may not know of one that has room."""
    bed.room = ONE
    here = dataclasses.replace(
        named("here"), status=pod({"startTime": "2027-01-15T07:00:00Z"}).status
    )
    bed.wanted.put(here)
    with pytest.raises(errors.Retryable, match="before all pods that were here are known"):
        await bed.take_in(pod(**CRITICAL))
    await bed.take_in(here)

    assert bed.evicted() == []
    assert await bed.take_in(pod(**CRITICAL)) == ""
    assert bed.evicted() == ["here"]


async def test_what_has_ended_takes_no_room(bed: Bed) -> None:
    """Before the API server has said so."""
    bed.room = ONE
    bed.end(bed.run("over", restartPolicy="Never"))

    assert await bed.take_in(pod()) == ""


async def test_how_many_are_there_costs_a_newcomer_nothing(bed: Bed) -> None:
    """The same calls for the third pod as for the hundredth."""
    bed.room = environment.Allocatable(10**9, 2**50, 10**6)
    port = {"containerPort": 80, "hostPort": 1}
    costs = []
    for number in range(100):
        made = named(f"p{number}", containers=[_asking("1m") | {"ports": [port]}])
        port["hostPort"] += 1
        with _calls() as calls:
            assert await bed.take_in(made) == ""
        costs.append(len(calls))

    assert costs[2] == costs[99]


async def test_who_has_to_end_is_not_worked_out_on_the_event_loop(bed: Bed) -> None:
    """Of thousands that ask for different things that takes its time."""
    bed.room = TWO
    cheap = bed.run("cheap")
    bed.run("dear", containers=[_asking("1m")])
    with _calls() as calls:
        async with bed.coming(pod(**CRITICAL)):
            bed.end(cheap)
            await bed.clock.go_on(1)

    assert bed.evicted() == ["cheap"]
    assert "need" in calls
    assert "choose" not in calls


@contextlib.contextmanager
def _working_out() -> Iterator[threading.Event]:
    """Keep who has to end from being worked out, until an event is set."""
    busy = threading.Event()
    with futures.ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        threads.submit(busy.wait)
        yield busy


async def test_the_place_is_taken_while_that_is_worked_out(bed: Bed) -> None:
    """Who comes meanwhile does not get what others give back by themselves."""
    bed.room = ONE
    victim = bed.run("victim", restartPolicy="Never")
    with _working_out() as busy:
        async with asyncio.TaskGroup() as group:
            coming = group.create_task(bed.take_in(pod(**CRITICAL)))
            await settle()
            bed.end(victim)
            late = group.create_task(bed.take_in(named("late")))
            await settle()
            early = coming.done() or late.done()
            busy.set()
            await until(coming.done)
            await bed.clock.go_on(1)

    assert (early, coming.result(), late.result()) == (False, "", "OutOfpods")


async def test_who_has_ended_meanwhile_is_told_nothing(bed: Bed) -> None:
    """Work that is done well has not failed, whoever was to come for it."""
    bed.room = ONE
    victim = bed.run("victim", restartPolicy="Never")
    with _working_out() as busy:
        async with asyncio.TaskGroup() as group:
            coming = group.create_task(bed.take_in(pod(**CRITICAL)))
            await settle()
            bed.end(victim)
            busy.set()

    assert (coming.result(), bed.evicted(), bed.events.reasons()) == ("", [], [])
