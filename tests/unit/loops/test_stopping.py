"""Stops with a preStop hook, over a clock that moves only when told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.clock import FakeClock, settle
from tests.fakes.cluster import FakeEvents
from tests.fakes.commands import FakeCommands
from tests.fakes.containers import FakeContainers
from tests.fakes.prober import FakeProber
from wasm_node.agent.loops import hooking, stopping
from wasm_node.agent.model import actions, desired, ids, observed, parsing, probe
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

_UID = ids.PodUid("u")
_ATTEMPT = records.AttemptId("u", "main", 0)


class Bed:
    """One attempt that runs, and what stops it."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.wanted, self.seen = pods.DesiredStore(), pods.ObservedStore()
        self.containers, self.events = FakeContainers(), FakeEvents()
        self.clock, self.prober = FakeClock(), FakeProber()
        self.commands = FakeCommands()
        self.again: list[ids.PodUid] = []
        self._group = group
        caller = hooking.Caller(self.prober, self.commands, self._endpoint, self.clock)
        self.stopper = stopping.Stopper(
            self.wanted, self.seen, self.containers, caller, self.events, self.clock
        )
        running = observed.Running(_ATTEMPT, 7, self.clock.now())
        container = adopt.apply(observed.ObservedContainer(), running)
        self.seen.put(_UID, observed.ObservedPod(self.clock.now(), {"main": container}))

    def _endpoint(
        self, _pod: desired.DesiredPod, _attempt: records.AttemptId, port: int
    ) -> probe.Endpoint:
        return probe.Endpoint("10.0.0.2", port)

    async def stop(
        self,
        pre_stop: dict[str, Any] | None,
        grace_s: float = 30.0,
        *,
        at_once: bool = False,
        waits: bool = False,
    ) -> None:
        """Ask for the stop, as a plan does."""
        pod = _pod(pre_stop)
        pod = pod.ending(0.0) if at_once else pod
        wanted = actions.StopContainer(_ATTEMPT, grace_s, "Stopping container main", waits)
        await self.stopper.stop(self._group, pod, wanted, self.again.append)
        await settle()

    def shut_down(self, stop_by: float = 0.0) -> None:
        """Have the runtime say that it ends the attempt with itself."""
        fact = observed.Running(_ATTEMPT, 7, self.clock.now(), stop_by=stop_by, shutdown=True)
        self.seen.change(_UID, "main", lambda seen: adopt.apply(seen, fact))

    def ends(self) -> None:
        """Have the attempt end."""
        how = records.ExitRecord(0, records.EndedBy.ITSELF, "Completed", "", 1, 2)
        ended = observed.Ended(_ATTEMPT, how)
        self.seen.change(_UID, "main", lambda seen: adopt.apply(seen, ended))

    @property
    def stops(self) -> list[float]:
        """The graces that the runtime was told."""
        return [grace_s for _, grace_s in self.containers.stops]


def _pod(pre_stop: dict[str, Any] | None) -> desired.DesiredPod:
    container = {"name": "main", "image": "x", "lifecycle": {"preStop": pre_stop}}
    spec = {"containers": [container]}
    return parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": spec})


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    """Give an attempt that runs."""
    async with asyncio.TaskGroup() as group:
        yield Bed(group)


_SLEEP = {"sleep": {"seconds": 5}}
_CALL = {"httpGet": {"port": 80, "path": "/bye"}}


async def test_without_a_hook_it_is_told_at_once(bed: Bed) -> None:
    """Each time anew; the event comes once."""
    await bed.stop(None)
    await bed.stop(None)

    assert bed.stops == [30.0, 30.0]
    assert bed.events.reasons() == ["Killing"]


async def test_the_hook_comes_first(bed: Bed) -> None:
    """Then the stop, with what is left of the grace period."""
    await bed.stop(_SLEEP)
    await bed.clock.go_on(4.0)
    await bed.stop(_SLEEP)
    before = list(bed.stops)
    await bed.clock.go_on(1.0)
    await bed.stop(_SLEEP)

    assert (before, bed.stops) == ([], [25.0])
    assert bed.again == [_UID]
    assert bed.events.reasons() == ["Killing"]


async def test_a_hook_has_the_grace_period_at_most(bed: Bed) -> None:
    """And leaves two seconds, however long it takes."""
    await bed.stop({"sleep": {"seconds": 100}}, grace_s=10.0)
    await bed.clock.go_on(10.0)
    await bed.stop({"sleep": {"seconds": 100}}, grace_s=10.0)

    assert bed.stops == [2.0]


async def test_a_hook_that_asks(bed: Bed) -> None:
    """It asks the container, and what is answered counts for nothing."""
    await bed.stop(_CALL)
    await bed.stop(_CALL)

    assert [(check.path, at.port) for check, at in bed.prober.called] == [("/bye", 80)]
    assert bed.stops == [30.0]


async def test_a_hook_that_is_a_command(bed: Bed) -> None:
    """It runs in the attempt that is to end, as it is written."""
    await bed.stop({"exec": {"command": ["bye", "$(X)"]}})
    await bed.stop({"exec": {"command": ["bye", "$(X)"]}})

    assert bed.commands.run == [(("bye", "$(X)"), _ATTEMPT)]
    assert bed.stops == [30.0]
    assert bed.events.reasons() == ["Killing"]


async def test_a_command_that_fails_is_told(bed: Bed) -> None:
    """Even one that says nothing; the stop goes on."""
    bed.commands.outcomes["bye"] = probe.Failed("")
    await bed.stop({"exec": {"command": ["bye"]}})
    await bed.stop({"exec": {"command": ["bye"]}})

    assert bed.stops == [30.0]
    assert bed.events.reasons() == ["Killing", "FailedPreStopHook"]


@pytest.mark.parametrize("port", [80, "nosuch"])
async def test_a_hook_that_fails_is_told(bed: Bed, port: int | str) -> None:
    """In the kubelet's words; the stop goes on."""
    bed.prober.outcomes[80] = probe.Failed("secret")
    await bed.stop({"httpGet": {"port": port}})
    await bed.stop({"httpGet": {"port": port}})

    assert bed.stops == [30.0]
    assert bed.events.reasons() == ["Killing", "FailedPreStopHook"]
    assert bed.events.emitted[-1][1].message == "PreStopHook failed"


async def test_no_grace_is_no_hook(bed: Bed) -> None:
    """As of a failed container whose pod has none (killContainer)."""
    await bed.stop(_SLEEP, grace_s=0.0)

    assert bed.stops == [2.0]
    assert bed.clock.sleepers == 0
    assert bed.events.reasons() == ["Killing"]


async def test_a_deletion_by_force_calls_the_hook(bed: Bed) -> None:
    """
    It has the one second that is left to any pod, also if it began before.

    calculateEffectiveGracePeriod; after it the container has two.
    """
    await bed.stop(_SLEEP)
    await bed.clock.go_on(1.0)
    await bed.stop(_SLEEP, grace_s=desired.LEAST_GRACE_S)
    await bed.stop(_SLEEP, grace_s=desired.LEAST_GRACE_S)
    before = list(bed.stops)
    await bed.clock.go_on(1.0)
    await bed.stop(_SLEEP, grace_s=desired.LEAST_GRACE_S)

    assert (before, bed.stops) == ([], [2.0])
    assert bed.events.reasons() == ["Killing"]


async def test_where_no_api_server_is_a_pod_may_end_at_once(bed: Bed) -> None:
    """Also in the middle of a hook: who sits before it wants to go on."""
    await bed.stop(_SLEEP)
    await bed.stop(_SLEEP, grace_s=0.0, at_once=True)

    assert bed.stops == [0.0]
    assert bed.clock.sleepers == 0


@pytest.mark.parametrize(("grace_s", "left_s"), [(1.0, 2.0), (2.0, 2.0), (2.5, 2.5)])
async def test_a_container_has_two_seconds_at_least(
    bed: Bed, grace_s: float, left_s: float
) -> None:
    """minimumGracePeriodInSeconds, with or without a hook."""
    await bed.stop(None, grace_s=grace_s)

    assert bed.stops == [left_s]


async def test_less_grace_begins_anew(bed: Bed) -> None:
    """As of a kubelet whose pod's deletion is hastened."""
    await bed.stop({"sleep": {"seconds": 100}}, grace_s=60.0)
    await bed.clock.go_on(10.0)
    await bed.stop({"sleep": {"seconds": 100}}, grace_s=5.0)
    await bed.clock.go_on(5.0)
    await bed.stop({"sleep": {"seconds": 100}}, grace_s=5.0)

    assert bed.stops == [2.0]


async def test_a_hook_awaits_no_turn(bed: Bed) -> None:
    """
    Told at once, a sidecar calls it while others end, with all of the grace.

    What it and they have taken is off the container's (killContainer).
    """
    await bed.stop(_SLEEP, waits=True)
    told = bed.events.reasons()
    await bed.clock.go_on(5.0)
    await bed.stop(_SLEEP, waits=True)
    await bed.clock.go_on(7.0)
    before = list(bed.stops)
    await bed.stop(_SLEEP)

    assert (told, before, bed.stops) == (["Killing"], [], [18.0])
    assert bed.events.reasons() == ["Killing"]


async def test_a_turn_that_comes_first_awaits_the_hook(bed: Bed) -> None:
    """Both have to be there."""
    await bed.stop(_SLEEP, waits=True)
    await bed.clock.go_on(2.0)
    await bed.stop(_SLEEP)
    before = list(bed.stops)
    await bed.clock.go_on(3.0)
    await bed.stop(_SLEEP)

    assert (before, bed.stops) == ([], [25.0])


@pytest.mark.parametrize("hook", [None, _SLEEP])
async def test_no_turn_is_awaited_beyond_the_grace(bed: Bed, hook: dict[str, Any] | None) -> None:
    """Then it is looked at again, and has two seconds, whoever still runs."""
    await bed.stop(hook, waits=True)
    await bed.clock.go_on(29.0)
    bed.again.clear()
    await bed.stop(hook, waits=True)
    await bed.clock.go_on(1.0)
    again = list(bed.again)
    await bed.stop(hook, waits=True)

    assert again == [_UID]
    assert bed.stops == [2.0]


async def test_less_grace_is_less_to_wait(bed: Bed) -> None:
    """A hook that is done is not called again; the turn is awaited anew."""
    await bed.stop(_CALL, grace_s=60.0, waits=True)
    await bed.clock.go_on(10.0)
    await bed.stop(_CALL, grace_s=5.0, waits=True)
    await bed.clock.go_on(4.0)
    await bed.stop(_CALL, grace_s=5.0, waits=True)
    before = list(bed.stops)
    await bed.clock.go_on(1.0)
    await bed.stop(_CALL, grace_s=5.0, waits=True)

    assert (before, bed.stops) == ([], [2.0])
    assert len(bed.prober.called) == 1
    assert bed.clock.sleepers == 0


async def test_nobody_awaits_a_turn_where_a_pod_ends_at_once(bed: Bed) -> None:
    """Even if it was waited for before."""
    await bed.stop(_SLEEP, waits=True)
    await bed.stop(_SLEEP, grace_s=0.0, at_once=True)

    assert bed.stops == [0.0]
    assert bed.clock.sleepers == 0


@pytest.mark.parametrize("waits", [False, True])
async def test_an_end_ends_the_hook(bed: Bed, waits: bool) -> None:
    """Nothing waits for what is over."""
    await bed.stop(_SLEEP, waits=waits)
    bed.ends()
    await settle()

    assert bed.clock.sleepers == 0
    assert (bed.stops, bed.again) == ([], [])


async def test_a_stop_by_the_runtime_is_told_on_the_spot(bed: Bed) -> None:
    """Nothing may be awaited, since the attempt may have ended by then."""
    bed.wanted.put(_pod(None))
    bed.shut_down()
    bed.ends()
    told = list(bed.events.emitted)

    killing = actions.Event("Killing", "Stopping container main", container="main")
    assert [(pod.name, said) for pod, said in told] == [("p", killing)]
    assert bed.stops == []


@pytest.mark.parametrize("stop_by", [0.0, 9.0])
async def test_a_stop_is_told_once_whoever_begins_it(bed: Bed, stop_by: float) -> None:
    """Also where the runtime holds the attempt, for its hook, all its time."""
    bed.wanted.put(_pod(_SLEEP))
    bed.shut_down(stop_by)
    before = bed.events.reasons()
    await bed.stop(_SLEEP, grace_s=4.0)
    bed.shut_down()
    await bed.clock.go_on(4.0)
    await bed.stop(_SLEEP, grace_s=0.0)
    bed.shut_down()

    assert (before, bed.events.reasons()) == (["Killing"], ["Killing"])
    assert bed.stops == [2.0]


async def test_each_attempt_is_told(bed: Bed) -> None:
    """As the pod may go on with the next runtime, which may end, too."""
    bed.wanted.put(_pod(None))
    bed.shut_down()
    bed.ends()
    again = observed.Running(records.AttemptId("u", "main", 1), 8, bed.clock.now(), shutdown=True)
    bed.seen.change(_UID, "main", lambda seen: adopt.apply(seen, again))

    assert bed.events.reasons() == ["Killing", "Killing"]


async def test_what_is_no_pod_of_ours_is_not_told(bed: Bed) -> None:
    """Until its pod is known there is nobody to tell of."""
    bed.shut_down()
    before = bed.events.reasons()
    bed.wanted.put(_pod(None))
    bed.shut_down(stop_by=1.0)

    assert (before, bed.events.reasons()) == ([], ["Killing"])
