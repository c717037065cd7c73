"""Statuses to their sink."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes import clock as clocks
from tests.fakes import cluster
from wasm_node.agent import errors
from wasm_node.agent.loops import write_status
from wasm_node.agent.model import desired, ids, observed, parsing
from wasm_node.agent.plan import status
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

UID = ids.PodUid("u1")


def _pod(
    phase: str = "Pending",
    *,
    name: str = "p",
    uid: str = "u1",
    ready: str = "",
    ended: int | None = None,
) -> desired.DesiredPod:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    told = {"name": "main", "containerID": f"wasmtime://{uid}/main/{ended}"}
    over = [told | {"state": {"terminated": {"exitCode": 3}}}] if ended is not None else []
    return parsing.pod(
        {
            "metadata": {"name": name, "uid": uid},
            "spec": {"containers": [{"name": "main", "image": "x"}]},
            "status": {"phase": phase, "conditions": conditions, "containerStatuses": over},
        }
    )


def _seen(attempt: int, *, uid: str = "u1") -> observed.ObservedPod:
    running = observed.Running(records.AttemptId(uid, "main", attempt), 7, 1_700_000_000.0)
    return observed.ObservedPod(
        1_700_000_000.0, {"main": observed.ObservedContainer(current=running)}
    )


def _over(attempt: int) -> observed.ObservedPod:
    record = records.ExitRecord(
        code=3,
        ended_by=records.EndedBy.ITSELF,
        reason="Error",
        message="",
        started_at_ns=1_700_000_000 * 10**9,
        finished_at_ns=1_700_000_001 * 10**9,
    )
    ended = observed.Ended(records.AttemptId("u1", "main", attempt), record)
    return observed.ObservedPod(
        1_700_000_000.0, {"main": observed.ObservedContainer(current=ended)}
    )


class Bed:
    """A writer over real stores and a fake sink."""

    def __init__(self) -> None:
        self.wanted = pods.DesiredStore()
        self.seen = pods.ObservedStore()
        self.sink = cluster.FakeSink()
        self.clock = clocks.FakeClock()
        self.writer = write_status.StatusWriter(
            self.wanted,
            self.seen,
            self.sink,
            lambda: status.Addresses("10.0.0.1", "10.0.0.2"),
            self.clock,
        )

    async def written(self, count: int) -> None:
        """Return once so many statuses are written."""
        while len(self.sink.writes) < count:
            await asyncio.sleep(0)


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    """Give a writer that works."""
    made = Bed()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.writer.run())
        yield made
        running.cancel()


async def test_many_changes_become_one_write(bed: Bed) -> None:
    """While one write is under way, changes fold into the next; newest wins."""
    bed.sink.gate = asyncio.Event()
    bed.wanted.put(_pod())
    for attempt in range(5):
        bed.seen.put(UID, _seen(attempt))
        await asyncio.sleep(0)
    bed.sink.gate.set()
    await bed.written(2)

    counts = [each["containerStatuses"][0]["restartCount"] for _, each in bed.sink.writes]
    assert counts[-1] == 4
    assert len(counts) == 2


async def test_the_same_is_not_written_twice(bed: Bed) -> None:
    """A change that changes no status costs no write."""
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    await bed.written(1)
    bed.wanted.put(_pod())
    await bed.writer.write_now(UID)

    assert len(bed.sink.writes) == 1


async def test_a_failed_write_is_tried_again(bed: Bed) -> None:
    """The API server being away for a moment loses no status."""
    bed.sink.fail_next = 1
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    await bed.written(1)

    assert bed.sink.phases() == ["Running"]


async def test_who_waits_to_try_again_is_behind(bed: Bed) -> None:
    """Until it has gone through, though nothing is under way meanwhile."""
    found = []
    for number, (fail_next, pause_s) in enumerate([(1, 0.0), (0, 0.05)]):
        bed.sink.fail_next, bed.sink.pause_s = fail_next, pause_s
        bed.wanted.put(_pod())
        bed.seen.put(UID, _seen(number))
        while bed.writer.busy:
            await asyncio.sleep(0)
        meanwhile = bed.writer.behind
        bed.clock.advance(1)
        await bed.written(number + 1)
        await clocks.settle()
        found.append((meanwhile, bed.writer.behind))

    assert found == [(True, False), (True, False)]


async def test_a_bug_with_one_pod_is_that_pods(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged by name and retried; other pods go on."""
    bed.sink.bugs.add("p")
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    bed.wanted.put(_pod(name="q", uid="u2"))
    bed.seen.put(ids.PodUid("u2"), _seen(0, uid="u2"))
    await bed.written(1)
    bed.sink.bugs.clear()
    await bed.written(2)

    assert [ref.name for ref, _ in bed.sink.writes] == ["q", "p"]
    assert [each.exc_info[0] for each in caplog.records if each.exc_info] == [ZeroDivisionError]
    assert "Pod default/p: cannot write its status" in caplog.text


async def test_a_pod_that_is_no_more_is_left_alone(bed: Bed) -> None:
    """Nothing is written to a name whose object is gone, and nothing raised."""
    bed.sink.removed.append(_pod().ref)
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    await bed.writer.write_now(UID)

    assert bed.sink.writes == []


async def test_endings_of_a_pod_that_somebody_else_failed_are_written(bed: Bed) -> None:
    """That it is unready, and later how it ended; phase and reason stay."""
    bed.wanted.put(_pod("Failed", ready="True"))
    bed.seen.put(UID, _seen(0))
    await bed.written(1)
    bed.wanted.put(_pod("Failed", ready="False"))
    bed.seen.put(UID, _over(0))
    await bed.written(2)

    made = [status for _, status in bed.sink.writes]
    ready = [next(x for x in each["conditions"] if x["type"] == "Ready") for each in made]
    states = [each["containerStatuses"][0]["state"] for each in made]
    assert bed.sink.phases() == ["Failed", "Failed"]
    assert [(each["status"], each["reason"]) for each in ready] == [("False", "PodFailed")] * 2
    assert "running" in states[0]
    assert states[1]["terminated"]["exitCode"] == 3
    assert not any({"reason", "message"} & set(each) for each in made)


async def test_what_was_told_of_a_finished_pod_is_left_alone(bed: Bed) -> None:
    """An agent that begins anew and knows its endings again writes nothing."""
    bed.wanted.put(_pod("Failed", ready="False", ended=0))
    bed.seen.put(UID, _over(0))
    await bed.writer.write_now(UID)
    await bed.writer.write_last(UID)

    assert bed.sink.writes == []


async def test_a_finished_pod_that_was_not_taken_in_is_left_alone(bed: Bed) -> None:
    """No more is said of it than why (rejectPod)."""
    why = observed.Rejected("OutOfcpu", "too much")
    bed.wanted.put(_pod("Failed"))
    bed.seen.put(UID, observed.ObservedPod(started_at=bed.clock.now() - 60, rejected=why))
    await bed.writer.write_now(UID)

    assert bed.sink.writes == []


async def test_a_finished_pod_of_which_nothing_began_is_told_once(bed: Bed) -> None:
    """Its phase stays; that no more is known of its container is added."""
    bed.wanted.put(_pod("Succeeded"))
    bed.seen.put(UID, observed.ObservedPod(started_at=bed.clock.now() - 60))
    await bed.writer.write_now(UID)
    await bed.writer.write_now(UID)

    ((_, said),) = bed.sink.writes
    ended = said["containerStatuses"][0]["state"]["terminated"]
    assert (said["phase"], ended["reason"]) == ("Succeeded", "ContainerStatusUnknown")
    assert "reason" not in said


async def test_endings_are_written_before_a_finished_pod_goes(bed: Bed) -> None:
    """Also where its deletion came before there was time for it."""
    bed.wanted.put(_pod("Succeeded").ending(0.0))
    bed.seen.put(UID, _over(0))
    await bed.writer.write_last(UID)

    assert bed.sink.phases() == ["Succeeded"]


async def test_a_pod_just_seen_is_given_a_moment() -> None:
    """A pod that starts at once is written once, as running."""
    bed = Bed()
    bed.wanted.put(_pod())
    bed.seen.put(UID, observed.ObservedPod(started_at=bed.clock.now()))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bed.writer.run())
        await asyncio.sleep(0)
        assert bed.sink.writes == []
        bed.seen.put(UID, _seen(0))
        await bed.written(1)
        running.cancel()

    assert bed.sink.phases() == ["Running"]


async def test_a_condition_keeps_its_time_across_writes(bed: Bed) -> None:
    """The transition time of a condition is that of its change."""
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    await bed.written(1)
    bed.clock.advance(60)
    bed.seen.put(UID, _seen(1))
    await bed.written(2)

    times = [
        next(each["lastTransitionTime"] for each in status["conditions"] if each["type"] == "Ready")
        for _, status in bed.sink.writes
    ]
    assert times[0] == times[1]


async def test_a_readiness_that_others_denied_is_restored(bed: Bed) -> None:
    """The node lifecycle controller denies it, and only the node gives it."""
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    await bed.written(1)
    for _ in range(2):
        bed.wanted.put(_pod("Running", ready="False"))
        await clocks.settle()
        bed.clock.advance(3)
    await bed.written(2)

    assert bed.sink.writes[0] == bed.sink.writes[1]


async def test_late_news_of_our_own_writes_are_no_denial(bed: Bed) -> None:
    """What is right a moment later costs no write."""
    bed.wanted.put(_pod())
    bed.seen.put(UID, _seen(0))
    await bed.written(1)
    for ready in ("False", "True", "False"):
        bed.wanted.put(_pod("Running", ready=ready))
        await clocks.settle()
        bed.clock.advance(2)

    assert len(bed.sink.writes) == 1


async def test_a_thousand_pods_that_change_at_once(bed: Bed) -> None:
    """
    Some at a time, and each as it is by then: changes do not add up.

    While the first sixteen are under way each pod changes four times more.
    """
    bed.sink.gate = asyncio.Event()
    names = [f"u{number}" for number in range(1000)]
    for uid in names:
        bed.wanted.put(_pod(name=uid, uid=uid))
    for attempt in range(5):
        for uid in names:
            bed.seen.put(ids.PodUid(uid), _seen(attempt, uid=uid))
        await clocks.settle()
    begun = bed.sink.at_once
    bed.sink.gate.set()
    while bed.writer.busy:
        await asyncio.sleep(0)

    counts: dict[str, list[int]] = {}
    for ref, made in bed.sink.writes:
        restarts = made["containerStatuses"][0]["restartCount"]
        counts.setdefault(ref.name, []).append(restarts)
    assert (begun, bed.sink.at_once) == (16, 16)
    assert counts.keys() == set(names)
    assert {each[-1] for each in counts.values()} == {4}
    assert len(bed.sink.writes) == 1000 + 16


async def test_a_pause_is_everybodys(bed: Bed) -> None:
    """Nothing is written until it is over; then everything, once, as it is."""
    bed.sink.pause_s = 30.0
    for uid in ("u1", "u2"):
        bed.wanted.put(_pod(name=uid, uid=uid))
    bed.seen.put(UID, _seen(0))
    await clocks.settle()
    for attempt in (1, 2):
        bed.seen.put(UID, _seen(attempt))
        bed.seen.put(ids.PodUid("u2"), _seen(attempt, uid="u2"))
        await clocks.settle()
    with pytest.raises(errors.Throttled) as caught:
        await bed.writer.write_now(UID)
    during = list(bed.sink.writes)
    bed.clock.advance(30)
    await bed.writer.write_now(UID)
    await bed.writer.write_now(ids.PodUid("u2"))

    assert (during, caught.value.after_s) == ([], 30.0)
    made = [(ref.name, x["containerStatuses"][0]["restartCount"]) for ref, x in bed.sink.writes]
    assert made == [("u1", 2), ("u2", 2)]


async def test_a_rejection_is_told_at_once(bed: Bed) -> None:
    """Of a pod that nothing will be started of there is nothing to wait for."""
    why = observed.Rejected("NodeShutdown", "m")
    bed.wanted.put(_pod())
    bed.seen.put(UID, observed.ObservedPod(bed.clock.now(), rejected=why))
    await clocks.settle()

    assert [made["reason"] for _, made in bed.sink.writes] == ["NodeShutdown"]


async def test_the_last_status_waits_for_one_on_its_way(bed: Bed) -> None:
    """Else that might arrive after it, and stand there when the pod goes."""
    bed.sink.gate = asyncio.Event()
    bed.wanted.put(_pod())
    bed.seen.put(UID, _over(0))
    await clocks.settle()
    bed.wanted.put(_pod().ending(30.0))
    async with asyncio.TaskGroup() as group:
        group.create_task(bed.writer.write_last(UID))
        await clocks.settle()
        bed.sink.gate.set()

    assert bed.sink.at_once == 1
    assert bed.sink.phases()[-1] == "Failed"
    assert len(bed.sink.writes) == 2
