"""The runtime is told to end: who ends when, with an agent and without."""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.component.runtime.running import RunningRuntime, command, until
from wasm_node.agent import errors
from wasm_node.agent.containers import client
from wasm_node.agent.interfaces import Streams
from wasm_node.agent.model import observed
from wasm_node.protocol import layout, records
from wasm_node.protocol.records import EndedBy
from wasm_node.protocol.settings import ShutdownGroup

_WITHIN_S = 15.0
_HIGH = records.CRITICAL_PRIORITY


def _again(own: RunningRuntime, *groups: tuple[int, float]) -> None:
    """Start it anew, with these groups of priority and seconds."""
    own.end()
    shutdown = tuple(ShutdownGroup(*each) for each in groups)
    own.settings = dataclasses.replace(own.settings, shutdown=shutdown)
    own.start()


def _sleeper(own: RunningRuntime, pod: str, container: str = "main", **fields: Any) -> Any:
    """Describe a guest that ends when it is told to, and not before."""
    spec = own.spec("sleep", pod=pod)
    which = dataclasses.replace(spec.id, container=container)
    return dataclasses.replace(spec, id=which, stop_grace_s=0.0, **fields)


async def _ends(
    own: RunningRuntime, specs: Mapping[str, records.ContainerSpec]
) -> dict[str, records.ExitRecord]:
    """Start it again, and return how all of these ended."""
    own.start()
    return {name: await own.ended(each.id) for name, each in specs.items()}


class Agent:
    """What an agent sees of the end, and stops when it is told to."""

    def __init__(self, containers: client.RuntimeContainers) -> None:
        self._containers = containers
        self.listed = asyncio.Event()
        self.ending = asyncio.Event()
        self.held: dict[str, float] = {}
        """Containers, as POD/NAME, that it is to stop, and by when."""

    async def run(self) -> None:
        """Listen until cancelled."""
        async for news in self._containers.facts():
            if isinstance(news, observed.Ending):
                self.ending.set()
            for fact in observed.facts(news):
                if isinstance(fact, observed.Running) and fact.stop_by:
                    self.held[f"{fact.id.pod_uid}/{fact.id.container}"] = fact.stop_by
            self.listed.set()

    async def sees(self, container: str) -> None:
        """Wait until it is asked to stop this one."""
        async with asyncio.timeout(_WITHIN_S):
            while container not in self.held:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def _agent(
    own: RunningRuntime, containers: client.RuntimeContainers | None = None
) -> AsyncIterator[Agent]:
    made = Agent(containers or own.containers)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.run())
        async with asyncio.timeout(_WITHIN_S):
            await made.listed.wait()
        yield made
        task.cancel()


def _terminate(own: RunningRuntime) -> None:
    assert own.process is not None
    own.process.terminate()


async def _ended(own: RunningRuntime) -> int:
    assert own.process is not None
    return await asyncio.to_thread(own.process.wait, _WITHIN_S)


async def _called(own: RunningRuntime, attempt: records.AttemptId) -> records.ExitRecord:
    """Run a command beside an attempt, as a hook does."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return await own.containers.execute(
            attempt, command("exit", "0"), export="", streams=Streams(null, null, null)
        )
    finally:
        os.close(null)


async def test_the_runtime_may_be_ended_at_once(own: RunningRuntime) -> None:
    """SIGTERM to one that has hardly begun is an orderly end as well."""
    assert own.end() == 0
    assert not (own.settings.run / "runtime.sock").exists()


async def test_the_runtime_ends_gracefully(own: RunningRuntime) -> None:
    """SIGTERM to the runtime stops its guests, says so, and leaves nobody."""
    spec = own.spec("sleep", pod="evening")
    await own.started(spec)

    assert own.end() == 0
    own.start()
    how = await own.ended(spec.id)

    assert (143, EndedBy.SHUTDOWN) == (how.code, how.ended_by)


async def test_a_shutdown_waits_for_no_guest_in_vain(own: RunningRuntime) -> None:
    """Of the runtime's grace each guest gets what its spec says it can use."""
    _again(own, (0, 60.0))
    service = dataclasses.replace(own.spec("sleep", pod="service"), stop_grace_s=0.0)
    slow = dataclasses.replace(own.spec("sleep", pod="slow"), stop_grace_s=0.5)
    job = own.spec("count", "20", "40", pod="job")
    for each in (service, slow, job):
        await own.started(each)

    assert own.end() == 0
    own.start()
    ends = [await own.ended(each.id) for each in (service, slow, job)]

    assert [EndedBy.SHUTDOWN, EndedBy.SHUTDOWN, EndedBy.ITSELF] == [each.ended_by for each in ends]
    took_s = [(each.finished_at_ns - ends[0].finished_at_ns) / 1e9 for each in ends]
    assert 0.4 < took_s[1] < 30.0


async def test_critical_pods_end_last(own: RunningRuntime) -> None:
    """All others have their share of the grace first, and then they theirs."""
    _again(own, (0, 0.6), (_HIGH, 0.4))
    ranks = {"lowest": -10, "low": 0, "high": _HIGH - 1, "critical": _HIGH, "most": _HIGH + 1000}
    specs = [
        dataclasses.replace(own.spec("sleep", pod=name), priority=priority)
        for name, priority in ranks.items()
    ]
    for each in specs:
        await own.started(each)
    begun_ns = time.time_ns()

    assert own.end() == 0
    own.start()
    ends = [await own.ended(each.id) for each in specs]

    took_s = [(each.finished_at_ns - begun_ns) / 1e9 for each in ends]
    assert {EndedBy.SHUTDOWN} == {each.ended_by for each in ends}
    assert min(took_s[:3]) > 0.5, took_s
    assert min(took_s[3:]) > 0.95, took_s
    assert max(took_s[:3]) < min(took_s[3:]), took_s


async def test_critical_pods_wait_for_nobody_in_vain(own: RunningRuntime) -> None:
    """Their turn comes as soon as the others have ended."""
    _again(own, (0, 60.0), (_HIGH, 0.2))
    quick = dataclasses.replace(own.spec("sleep", pod="quick"), stop_grace_s=0.0)
    critical = dataclasses.replace(own.spec("sleep", pod="critical"), priority=_HIGH)
    for each in (quick, critical):
        await own.started(each)
    begun = time.monotonic()

    assert own.end() == 0
    assert 0.2 < time.monotonic() - begun < 30.0


async def test_told_twice_it_ends_at_once(own: RunningRuntime) -> None:
    """A second SIGTERM leaves nobody any grace, critical or not."""
    _again(own, (0, 30.0), (_HIGH, 30.0))
    for name, priority in (("low", 0), ("critical", _HIGH)):
        await own.started(dataclasses.replace(own.spec("sleep", pod=name), priority=priority))
    begun = time.monotonic()
    assert own.process is not None
    stop = own.settings.state / "pods" / "low" / "containers" / "main" / "0" / "stop.json"
    own.process.terminate()
    until(stop.exists, "the first word has come")

    assert own.end() == 0
    assert time.monotonic() - begun < 20.0


async def test_who_was_asked_to_stop_before_was_not_shut_down(own: RunningRuntime) -> None:
    """Why an attempt ends is what was said first."""
    _again(own, (0, 0.3))
    spec = own.spec("sleep", pod="deleted")
    await own.started(spec)
    await own.containers.stop(spec.id, grace_s=30.0)

    assert own.end() == 0
    own.start()
    assert (await own.ended(spec.id)).ended_by is EndedBy.STOP


async def test_groups_end_one_after_the_other(own: RunningRuntime) -> None:
    """Each pod with the group of its priority; none waits for an empty one."""
    _again(own, (-5, 0.5), (10, 0.5), (50, 60.0), (100, 0.5))
    ranks = {"lowest": -10, "nine": 9, "ten": 10, "forty": 40, "most": 500}
    specs = {
        name: dataclasses.replace(own.spec("sleep", pod=name), priority=priority)
        for name, priority in ranks.items()
    }
    for each in specs.values():
        await own.started(each)
    begun_ns = time.time_ns()

    assert own.end() == 0
    ends = await _ends(own, specs)
    took_s = {name: (each.finished_at_ns - begun_ns) / 1e9 for name, each in ends.items()}
    assert min(took_s["lowest"], took_s["nine"]) > 0.5, took_s
    assert min(took_s["ten"], took_s["forty"]) > 1.0, took_s
    assert 1.5 < took_s["most"] < 30.0, took_s
    assert max(took_s["lowest"], took_s["nine"]) < min(took_s["ten"], took_s["forty"]), took_s


async def test_sidecars_end_last(own: RunningRuntime) -> None:
    """The last one first, and none before the pod's work; also late."""
    _again(own, (0, 0.5))
    specs = {
        "first": _sleeper(own, "pod", "first", ends_after=("main", "second")),
        "second": _sleeper(own, "pod", "second", ends_after=("main",)),
        "main": dataclasses.replace(_sleeper(own, "pod"), stop_grace_s=30.0),
    }
    for each in specs.values():
        await own.started(each)
    begun_ns = time.time_ns()

    assert own.end() == 0
    ends = await _ends(own, specs)
    ended = sorted(ends, key=lambda name: ends[name].finished_at_ns)
    assert ended == ["main", "second", "first"]
    assert {EndedBy.SHUTDOWN} == {each.ended_by for each in ends.values()}
    assert (ends["main"].finished_at_ns - begun_ns) / 1e9 > 0.4


async def test_what_others_took_is_off_a_sidecars_time(own: RunningRuntime) -> None:
    """
    It counts from when the pod was told; two seconds are left at least.

    Hooks are beside the end of the others, so of theirs nothing is off.
    """
    _again(own, (0, 60.0))
    specs = {
        "hooked": _sleeper(own, "pod", "hooked", pre_stop_s=6.0, ends_after=("main",)),
        "server": _sleeper(own, "pod", "server", ends_after=("main",)),
        "main": _sleeper(own, "pod"),
    }
    specs["server"] = dataclasses.replace(specs["server"], stop_grace_s=3.9)
    specs["main"] = dataclasses.replace(specs["main"], stop_grace_s=2.0)
    for each in specs.values():
        await own.started(each)
    async with _agent(own) as agent:
        begun = time.time_ns() / 1e9
        _terminate(own)
        await agent.sees("pod/hooked")
        main = await own.ended(specs["main"].id)
        server = await own.ended(specs["server"].id)
        await own.containers.stop(specs["hooked"].id, grace_s=0.0)
        assert await _ended(own) == 0

    since = main.finished_at_ns / 1e9
    assert 5.9 < agent.held["pod/hooked"] - begun < 7.9  # anew it would be 8
    assert 1.9 < server.finished_at_ns / 1e9 - since < 3.8  # anew it would be 3.9


async def test_nobody_calls_hooks_without_an_agent(own: RunningRuntime) -> None:
    """Who has one ends at once as all others do."""
    _again(own, (0, 60.0))
    await own.started(_sleeper(own, "hooked", pre_stop_s=30.0))
    begun = time.monotonic()

    assert own.end() == 0
    assert time.monotonic() - begun < 20.0


async def test_who_only_looks_on_calls_no_hook(own: RunningRuntime) -> None:
    """As `wasm-node stop` does, which hears facts as the agent does."""
    _again(own, (0, 60.0))
    await own.started(_sleeper(own, "hooked", pre_stop_s=30.0))
    looking = client.RuntimeContainers(own.settings.state, own.settings.run / layout.SOCKET)
    async with _agent(own, looking):
        begun = time.monotonic()
        _terminate(own)
        assert await _ended(own) == 0

    assert time.monotonic() - begun < 20.0


async def test_the_agent_says_when_a_hook_is_done(own: RunningRuntime) -> None:
    """
    It hears of the end and of who is held, by when; others end at once.

    A hook that is a command runs beside the guest. A sidecar is held with the
    others, so that its hook is called beside their end.
    """
    _again(own, (0, 60.0))
    specs = {
        "main": _sleeper(own, "hooked", pre_stop_s=30.0),
        "side": _sleeper(own, "hooked", "side", pre_stop_s=30.0, ends_after=("main",)),
        "plain": _sleeper(own, "plain"),
    }
    for each in specs.values():
        await own.started(each)
    async with _agent(own) as agent:
        begun = time.time_ns() / 1e9
        _terminate(own)
        await agent.sees("hooked/main")
        await agent.sees("hooked/side")
        await own.ended(specs["plain"].id)
        said = [await _called(own, specs[name].id) for name in ("side", "main")]
        await own.containers.stop(specs["main"].id, grace_s=20.0)
        await own.ended(specs["main"].id)
        await own.containers.stop(specs["side"].id, grace_s=20.0)
        assert await _ended(own) == 0
    ends = await _ends(own, specs)

    assert agent.ending.is_set()
    assert agent.held.keys() == {"hooked/main", "hooked/side"}
    assert 29.0 < min(agent.held.values()) - begun < 50.0
    assert [each.code for each in said] == [0, 0]
    assert {EndedBy.SHUTDOWN} == {each.ended_by for each in ends.values()}
    ended = sorted(ends, key=lambda name: ends[name].finished_at_ns)
    assert ended == ["plain", "main", "side"]


async def test_a_hook_that_takes_all_the_time_leaves_two_seconds(own: RunningRuntime) -> None:
    """As a kubelet leaves them to a container, beyond its group's time."""
    _again(own, (0, 1.0))
    spec = _sleeper(own, "hooked", pre_stop_s=30.0)
    spec = dataclasses.replace(spec, stop_grace_s=None)
    await own.started(spec)
    async with _agent(own) as agent:
        _terminate(own)
        await agent.sees("hooked/main")
        stop_by = agent.held["hooked/main"]
        await asyncio.sleep(max(0.0, stop_by - time.time_ns() / 1e9))  # the hook takes that
        await own.containers.stop(spec.id, grace_s=2.0)
        assert await _ended(own) == 0
    how = (await _ends(own, {"it": spec}))["it"]

    assert how.ended_by is EndedBy.SHUTDOWN
    assert how.finished_at_ns / 1e9 - stop_by > 1.5


async def test_a_hook_has_its_groups_time_at_most(own: RunningRuntime) -> None:
    """An agent that says nothing is waited for until then, and no longer."""
    _again(own, (0, 1.0), (_HIGH, 0.5))
    specs = {
        "hooked": _sleeper(own, "hooked", pre_stop_s=30.0),
        "short": _sleeper(own, "short", pre_stop_s=0.4),
        "critical": _sleeper(own, "critical", pre_stop_s=30.0, priority=_HIGH),
    }
    for each in specs.values():
        await own.started(each)
    async with _agent(own) as agent:
        begun_ns = time.time_ns()
        _terminate(own)
        assert await _ended(own) == 0
    ends = await _ends(own, specs)

    took_s = {name: (each.finished_at_ns - begun_ns) / 1e9 for name, each in ends.items()}
    assert agent.held.keys() == {f"{name}/main" for name in specs}
    assert 0.4 < took_s["short"] < took_s["hooked"] < took_s["critical"] < 20.0, took_s
    assert took_s["hooked"] > 1.0, took_s
    assert took_s["critical"] > 1.45, took_s


async def test_an_agent_that_comes_late_hears_of_it(own: RunningRuntime) -> None:
    """That it ends, and who is held, is told to whoever listens anew."""
    _again(own, (0, 60.0))
    specs = {"hooked": _sleeper(own, "hooked", pre_stop_s=30.0)}
    await own.started(specs["hooked"])
    async with _agent(own) as first:
        _terminate(own)
        await first.sees("hooked/main")
    own.kill("supervisor")
    async with _agent(own) as second:
        await second.sees("hooked/main")
        async with asyncio.timeout(_WITHIN_S):
            await second.ending.wait()
        await own.containers.stop(specs["hooked"].id, grace_s=0.0)
        assert await _ended(own) == 0
    ends = await _ends(own, specs)

    assert second.held == first.held
    assert ends["hooked"].ended_by is EndedBy.SHUTDOWN


async def test_a_supervisor_that_is_killed_gives_nobody_more_time(own: RunningRuntime) -> None:
    """It is counted from when the group's turn came, for sidecars as well."""
    _again(own, (0, 0.3), (10, 30.0))
    specs = {
        "low": own.spec("sleep", pod="low"),
        "first": _sleeper(own, "first", pre_stop_s=60.0),
        "short": dataclasses.replace(own.spec("sleep", pod="short"), stop_grace_s=2.0),
        "main": dataclasses.replace(own.spec("sleep", pod="pod"), stop_grace_s=2.2),
        "side": _sleeper(own, "pod", "side", ends_after=("main",)),
    }
    specs["side"] = dataclasses.replace(specs["side"], stop_grace_s=4.3)
    for name, each in specs.items():
        await own.started(dataclasses.replace(each, priority=0 if name == "low" else 10))
    async with _agent(own) as agent:
        _terminate(own)
        await agent.sees("first/main")
        await own.ended(specs["short"].id)
        own.kill("supervisor")
        side = await own.ended(specs["side"].id)
        await own.containers.stop(specs["first"].id, grace_s=0.0)
        assert await _ended(own) == 0

    begun = agent.held["first/main"] - 30.0
    assert 4.2 < side.finished_at_ns / 1e9 - begun < 6.2  # anew: 6.3 at least


async def test_a_hook_waits_for_an_agent_that_lost_the_supervisor(own: RunningRuntime) -> None:
    """It may be back soon: whose turn comes in between is held for it."""
    _again(own, (0, 60.0), (10, 60.0))
    before = dataclasses.replace(own.spec("sleep", pod="before"), stop_grace_s=0.5)
    hooked = _sleeper(own, "hooked", pre_stop_s=60.0, priority=10)
    for each in (before, hooked):
        await own.started(each)
    directory = layout.attempt(own.settings.state, before.id)
    async with _agent(own):
        _terminate(own)
        await asyncio.to_thread(until, (directory / layout.STOP).exists, "it was told")
    own.kill("supervisor")
    await asyncio.to_thread(until, (directory / layout.EXIT).exists, "it has ended")
    async with _agent(own) as later:
        await later.sees("hooked/main")
        await own.containers.stop(hooked.id, grace_s=0.0)
        assert await _ended(own) == 0


async def test_an_agent_that_goes_is_not_waited_for(own: RunningRuntime) -> None:
    """
    After some seconds, in which it might be back, nobody is held for it.

    A sidecar waits for its turn all the same.
    """
    _again(own, (0, 60.0))
    specs = {
        "hooked": _sleeper(own, "hooked", pre_stop_s=60.0),
        "main": dataclasses.replace(own.spec("sleep", pod="pod"), stop_grace_s=4.5),
        "side": _sleeper(own, "pod", "side", pre_stop_s=60.0, ends_after=("main",)),
    }
    for each in specs.values():
        await own.started(each)
    async with _agent(own) as agent:
        _terminate(own)
        await agent.sees("hooked/main")
        await agent.sees("pod/side")
    gone = time.monotonic()

    assert await _ended(own) == 0
    assert 2.0 < time.monotonic() - gone < 30.0
    ends = await _ends(own, specs)
    ended = sorted(ends, key=lambda name: ends[name].finished_at_ns)
    assert ended == ["hooked", "main", "side"]
    assert {EndedBy.SHUTDOWN} == {each.ended_by for each in ends.values()}


async def test_while_it_ends_nothing_is_started(own: RunningRuntime) -> None:
    """It is refused for now: the next runtime may."""
    _again(own, (0, 60.0))
    await own.started(_sleeper(own, "hooked", pre_stop_s=30.0))
    async with _agent(own) as agent:
        _terminate(own)
        await agent.sees("hooked/main")
        with pytest.raises(errors.Retryable, match="the runtime is ending"):
            await own.containers.start(own.spec("sleep", pod="new"))
        _terminate(own)
        assert await _ended(own) == 0


async def test_a_start_that_fails_meanwhile_is_waited_for_no_more(own: RunningRuntime) -> None:
    """One that was on its way, and of which nothing has come."""
    _again(own, (0, 60.0), (_HIGH, 0.2))
    lost = own.spec("sleep", pod="lost")
    await own.prepared(lost)
    await own.started(dataclasses.replace(own.spec("sleep", pod="critical"), priority=_HIGH))
    directory = layout.attempt(own.settings.state, lost.id)
    forks = own.service("fork")
    os.kill(forks, signal.SIGSTOP)
    try:
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_fails(own, lost))
            await asyncio.to_thread(until, Path(lost.log_path).exists, "it is on its way")
            _terminate(own)
            await asyncio.to_thread(until, (directory / layout.STOP).exists, "it was told")
            shutil.rmtree(directory)  # so nobody can claim it
            begun = time.monotonic()
            os.kill(forks, signal.SIGCONT)
            assert await _ended(own) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(forks, signal.SIGCONT)

    assert "cannot start" in starting.result()
    assert time.monotonic() - begun < 20.0


async def _fails(own: RunningRuntime, spec: records.ContainerSpec) -> str:
    with pytest.raises(errors.NodeError) as why:
        await own.containers.start(spec)
    return str(why.value)
