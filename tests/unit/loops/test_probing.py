"""The scheduler of probes, over a clock that moves only when told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.clock import FakeClock, settle
from tests.fakes.cluster import FakeEvents
from tests.fakes.commands import FakeCommands
from tests.fakes.prober import FakeProber
from wasm_node.agent.loops import probe as loop
from wasm_node.agent.model import desired, ids, observed, parsing, probe
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

READINESS, LIVENESS, STARTUP = probe.Kind.READINESS, probe.Kind.LIVENESS, probe.Kind.STARTUP
ADDRESS = "10.0.0.2"


def _pod(uid: str = "u1", *, meta: dict[str, Any] | None = None, **fields: Any) -> Any:
    container = {"name": "main", "image": "x"} | fields
    return parsing.pod(
        {
            "metadata": {"name": uid, "uid": uid, **(meta or {})},
            "spec": {"containers": [container]},
        }
    )


def _check(port: int | str = 80, **numbers: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": port}, "failureThreshold": 1} | numbers


class Bed:
    """A scheduler that runs, and everything around it."""

    def __init__(self) -> None:
        self.wanted = pods.DesiredStore()
        self.seen = pods.ObservedStore()
        self.prober = FakeProber()
        self.commands = FakeCommands()
        self.events = FakeEvents()
        self.clock = FakeClock()
        self.probing = self._made()

    def _made(self) -> loop.Probing:
        def endpoint(
            _pod: desired.DesiredPod, _attempt: records.AttemptId, port: int
        ) -> probe.Endpoint:
            return probe.Endpoint(ADDRESS, port)

        return loop.Probing(
            self.wanted,
            self.seen,
            self.prober,
            self.commands,
            endpoint,
            self.events,
            self.clock,
        )

    def begin(self, pod: desired.DesiredPod, attempt: int = 0, *, ago_s: float = 0.0) -> None:
        """Have an attempt of the pod's container run."""
        self.wanted.put(pod)
        started_at = self.clock.now() - ago_s
        running = observed.Running(records.AttemptId(pod.ref.uid, "main", attempt), 7, started_at)
        before = self.seen.get(pod.ref.uid) or observed.ObservedPod(started_at)
        container = adopt.apply(before.container("main"), running)
        self.seen.put(pod.ref.uid, observed.ObservedPod(started_at, {"main": container}))

    def end(self, uid: str = "u1", attempt: int = 0) -> None:
        """Have the attempt end."""
        record = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", 0, 1)
        ended = observed.Ended(records.AttemptId(uid, "main", attempt), record)
        self.seen.change(ids.PodUid(uid), "main", lambda seen: adopt.apply(seen, ended))

    def verdicts(self, uid: str = "u1") -> dict[probe.Kind, bool]:
        """Return what the store has."""
        seen = self.seen.get(ids.PodUid(uid))
        return dict(seen.container("main").verdicts) if seen else {}

    def asked(self) -> list[int]:
        """Return the ports that were asked, in order."""
        return [at.port for _, at in self.prober.asked]


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    """Give a scheduler that works."""
    made = Bed()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.probing.run())
        await settle()
        yield made
        running.cancel()


async def test_each_period_one_probe(bed: Bed) -> None:
    """The first comes after the initial delay, the others by the period."""
    bed.begin(_pod(readinessProbe=_check(initialDelaySeconds=5, periodSeconds=2)))
    asked = []
    for _ in range(10):
        await bed.clock.go_on(1.0)
        asked.append(len(bed.asked()))

    assert [0, 0, 0, 0, 1, 1, 2, 2, 3, 3] == asked


async def test_a_passing_probe_is_a_verdict_and_no_event(bed: Bed) -> None:
    """It is asked at once where the pod is, and the store has the result."""
    bed.begin(_pod(readinessProbe=_check(8080)))
    await settle()

    assert {READINESS: True} == bed.verdicts()
    assert [probe.Endpoint(ADDRESS, 8080)] == [at for _, at in bed.prober.asked]
    assert bed.events.emitted == []


async def test_every_failure_is_an_event(bed: Bed) -> None:
    """Each is told; the verdict waits for the threshold."""
    bed.prober.outcomes[80] = probe.Failed("refused")
    bed.begin(_pod(readinessProbe=_check(failureThreshold=2)))
    await settle()
    first = bed.verdicts()
    await bed.clock.go_on(10.0)

    assert ({}, {READINESS: False}) == (first, bed.verdicts())
    assert ["Readiness probe failed: refused"] * 2 == [
        event.message for _, event in bed.events.emitted
    ]


async def test_a_port_that_has_no_such_name_is_told(bed: Bed) -> None:
    """Nothing is asked and nothing counts; a person reads the name."""
    bed.begin(_pod(livenessProbe=_check("nosuch")))
    await settle()

    assert ([], {}) == (bed.asked(), bed.verdicts())
    (told,) = bed.events.emitted
    assert 'port "nosuch" not found' in told[1].message


async def test_a_host_of_its_own_is_asked_there(bed: Bed) -> None:
    """A probe that names a host goes there and not to the pod."""
    check = {"tcpSocket": {"port": 80, "host": "example.com"}}
    bed.begin(_pod(readinessProbe=check))
    await settle()

    assert [probe.Endpoint("example.com", 80)] == [at for _, at in bed.prober.asked]


async def test_others_wait_for_startup(bed: Bed) -> None:
    """They begin when it has passed, and it is not asked again."""
    bed.prober.outcomes[1] = probe.Failed("not yet")
    bed.begin(
        _pod(
            startupProbe=_check(1, failureThreshold=5, periodSeconds=1),
            readinessProbe=_check(2),
            livenessProbe=_check(3),
        )
    )
    for _ in range(3):
        await bed.clock.go_on(1.0)
    before = bed.asked()
    bed.prober.outcomes.clear()
    for _ in range(4):
        await bed.clock.go_on(1.0)

    assert {1} == set(before)
    assert [1, 2, 3] == bed.asked()[len(before) :]
    assert {STARTUP: True, READINESS: True, LIVENESS: True} == bed.verdicts()


async def test_a_failed_liveness_rests_until_the_next_attempt(bed: Bed) -> None:
    """It is not asked while the container is being ended; then it is anew."""
    bed.prober.outcomes[80] = probe.Failed("hangs")
    pod = _pod(livenessProbe=_check(periodSeconds=1))
    bed.begin(pod)
    for _ in range(5):
        await bed.clock.go_on(1.0)
    rested = len(bed.asked())
    bed.end()
    bed.prober.outcomes.clear()
    bed.begin(pod, attempt=1)
    await settle()

    assert 1 == rested
    assert {LIVENESS: True} == bed.verdicts()


async def test_counting_begins_anew_with_each_attempt(bed: Bed) -> None:
    """A failure of one attempt is not held against the next."""
    bed.prober.outcomes[80] = probe.Failed("slow to start")
    pod = _pod(livenessProbe=_check(failureThreshold=2))
    bed.begin(pod)
    await settle()
    bed.end()
    bed.begin(pod, attempt=1)
    await settle()

    assert (2, {}) == (len(bed.asked()), bed.verdicts())


async def test_a_new_attempt_takes_the_place_of_the_old(bed: Bed) -> None:
    """Without its end having been seen, too: it is asked at once, and alone."""
    pod = _pod(readinessProbe=_check(periodSeconds=10))
    bed.begin(pod)
    await bed.clock.go_on(5.0)
    bed.begin(pod, attempt=1)
    asked = []
    for _ in range(4):
        await settle()
        asked.append(len(bed.asked()))
        await bed.clock.go_on(5.0)

    assert [2, 2, 3, 3] == asked


async def test_what_has_ended_is_not_asked(bed: Bed) -> None:
    """Nothing is asked of a container that is over."""
    bed.begin(_pod(readinessProbe=_check(periodSeconds=1)))
    await settle()
    bed.end()
    for _ in range(3):
        await bed.clock.go_on(1.0)

    assert 1 == len(bed.asked())
    assert "0 probes" in repr(bed.probing)


async def test_a_result_that_comes_too_late_is_dropped(bed: Bed) -> None:
    """What an ended attempt was asked counts for nothing, and is not told."""
    bed.prober.gate.clear()
    bed.prober.outcomes[80] = probe.Failed("cut off")
    bed.begin(_pod(readinessProbe=_check()))
    await settle()
    bed.end()
    bed.prober.gate.set()
    await settle()

    assert ({}, []) == (bed.verdicts(), bed.events.emitted)


async def test_one_that_hangs_keeps_nobody_else_waiting(bed: Bed) -> None:
    """Probes run beside each other; each of them at most once at a time."""
    bed.prober.gate.clear()
    for number in range(20):
        bed.begin(_pod(f"u{number}", readinessProbe=_check(number + 1, periodSeconds=1)))
    await settle()
    for _ in range(3):
        await bed.clock.go_on(1.0)

    assert list(range(1, 21)) == bed.asked()


async def test_a_command_is_run_in_the_attempt_that_is_there(bed: Bed) -> None:
    """By its period like any other probe, and with the same events."""
    bed.commands.outcomes["check"] = probe.Failed("not yet\n")
    check = {"exec": {"command": ["check", "-v"]}, "failureThreshold": 2}
    bed.begin(_pod(readinessProbe=check))
    await bed.clock.go_on(10.0)
    bed.end()
    bed.begin(_pod(readinessProbe=check), attempt=1)
    await settle()

    attempts = [records.AttemptId("u1", "main", number) for number in (0, 0, 1)]
    assert bed.commands.run == [(("check", "-v"), each) for each in attempts]
    said = {event.message for _, event in bed.events.emitted}
    assert said == {"Readiness probe failed: not yet\n"}


async def test_commands_that_hang_keep_no_places(bed: Bed) -> None:
    """However many do: what asks over the network is asked in time."""
    bed.commands.gate.clear()
    for number in range(300):  # more than there are places
        command = {"exec": {"command": ["hangs"]}}
        bed.begin(_pod(f"h{number}", livenessProbe=command))
    await settle()
    bed.begin(_pod(readinessProbe=_check()))
    await bed.clock.go_on(1.0)

    assert len(bed.commands.run) == 300
    assert bed.verdicts() == {READINESS: True}


async def test_a_new_agent_does_not_ask_everything_at_once(bed: Bed) -> None:
    """What it finds running is spread over a period (worker.go run)."""
    for number in range(50):
        bed.begin(
            _pod(f"u{number}", readinessProbe=_check(number + 1, periodSeconds=10)), ago_s=100.0
        )
    asked = []
    for _ in range(10):
        await bed.clock.go_on(1.0)
        asked.append(len(bed.asked()))

    assert 50 == asked[-1]
    assert 0 < asked[4] < 50


async def test_an_agent_is_new_for_a_period(bed: Bed) -> None:
    """Later, what was waited for is asked at once, however old it is."""
    bed.prober.outcomes[1] = probe.Failed("not yet")
    startup = _check(1, periodSeconds=20, failureThreshold=9)
    bed.begin(_pod(startupProbe=startup, readinessProbe=_check(2, periodSeconds=10)), ago_s=100.0)
    await bed.clock.go_on(20.0)
    bed.prober.outcomes.clear()
    await bed.clock.go_on(20.0)

    assert [1, 1, 2] == bed.asked()


async def test_a_bug_of_one_probe_is_that_probes(bed: Bed) -> None:
    """An exception counts for nothing, and the next is tried in time."""
    probe_ = bed.prober.probe
    bugs = [ZeroDivisionError()]

    async def broken(wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        if bugs:
            raise bugs.pop()
        return await probe_(wanted, at)

    bed.prober.probe = broken  # type: ignore[method-assign]  # a bug of ours
    bed.begin(_pod(readinessProbe=_check(periodSeconds=1)))
    await settle()
    first = bed.verdicts()
    await bed.clock.go_on(1.0)

    assert ({}, {READINESS: True}) == (first, bed.verdicts())


async def test_a_pod_that_is_deleted_is_asked_for_readiness_only(bed: Bed) -> None:
    """Liveness rests once a deletion was asked for."""
    pod = _pod(readinessProbe=_check(1, periodSeconds=1), livenessProbe=_check(2, periodSeconds=1))
    bed.begin(pod)
    await settle()
    bed.wanted.put(pod.ending(30.0))
    before = len(bed.asked())
    for _ in range(2):
        await bed.clock.go_on(1.0)

    assert [1, 1] == bed.asked()[before:]
