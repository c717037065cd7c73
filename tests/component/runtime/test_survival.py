"""kill -9 of every part: nothing lost, nothing run twice, nobody left over."""

import asyncio
import contextlib
import functools
import os
import signal

import pytest

from tests.component.runtime import running
from tests.component.runtime.running import RunningRuntime
from wasm_node.agent import errors
from wasm_node.agent.model import observed
from wasm_node.protocol import layout, records
from wasm_node.protocol.records import EndedBy, Mount


async def _facts(runtime: RunningRuntime) -> dict[records.AttemptId, observed.Fact]:
    listed = await running.patiently(runtime.containers.listed)
    return {each.id: each for each in listed}


async def test_a_killed_supervisor_costs_nothing(own: RunningRuntime) -> None:
    """Its successor finds the same processes, and the endings in between."""
    stays, ends = own.spec("sleep", pod="stays"), own.spec("sleep", "300", pod="ends")
    before = await own.started(stays)
    await own.started(ends)
    own.kill("supervisor")
    how = await own.ended(ends.id)
    after = (await _facts(own))[stays.id]

    assert (0, EndedBy.ITSELF) == (how.code, how.ended_by)
    assert before == after
    await own.containers.stop(stays.id, grace_s=0.0)
    assert (await own.ended(stays.id)).ended_by is EndedBy.STOP


async def test_a_crash_while_nobody_looked_is_told(own: RunningRuntime) -> None:
    """A worker shot while the supervisor is dead is still a known crash."""
    spec = own.spec("sleep", pod="unlucky")
    worker = await own.started(spec)
    supervisor = own.service("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(worker.pid, signal.SIGABRT)
    running.until(lambda: not running.is_process(worker.pid), "the worker is gone")
    os.kill(supervisor, signal.SIGKILL)
    how = await own.ended(spec.id)

    assert (128 + signal.SIGABRT, EndedBy.CRASH) == (how.code, how.ended_by)


async def test_memory_that_ran_out_while_nobody_looked_is_told(own: RunningRuntime) -> None:
    """The kernel's count of its kills is read before the group is removed."""
    spec = own.spec("grow", "1000", pod="greedy", memory=32 << 20)
    worker = await own.started(spec)
    supervisor = own.service("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    running.until(lambda: not running.is_process(worker.pid), "the worker is gone")
    os.kill(supervisor, signal.SIGKILL)
    how = await own.ended(spec.id)

    assert (137, EndedBy.MEMORY, "OOMKilled") == (how.code, how.ended_by, how.reason)


async def test_a_stop_goes_on_in_the_next_supervisor(own: RunningRuntime) -> None:
    """A grace period that was running when the supervisor died still ends."""
    spec = own.spec("sleep", pod="halfway")
    await own.started(spec)
    await own.containers.stop(spec.id, grace_s=1.0)
    own.kill("supervisor")
    how = await own.ended(spec.id)

    assert (143, EndedBy.STOP) == (how.code, how.ended_by)


async def test_a_killed_fork_server_costs_no_container(own: RunningRuntime) -> None:
    """Workers live on, and the next one starts new ones."""
    stays, comes = own.spec("sleep", pod="stays"), own.spec("exit", "5", pod="comes")
    before = await own.started(stays)
    own.kill("fork")
    how = await own.run(comes)

    assert how.code == 5
    assert (await _facts(own))[stays.id] == before


async def test_no_start_is_done_twice(own: RunningRuntime) -> None:
    """Under kills of both services each attempt still runs exactly once."""
    mount = Mount(str(own.mount), "/ledger", read_only=False)
    ledger = own.mount / "starts"
    ledger.touch()
    ledger.chmod(0o666)  # each pod is another user
    specs = [own.spec("ledger", f"t{n}", pod=f"p{n}", mounts=[mount]) for n in range(24)]

    async def hurt() -> None:
        for name in ("fork", "supervisor") * 3:
            await asyncio.to_thread(own.kill, name)
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(hurt())
        for each in specs:
            group.create_task(own.started(each))
    wanted = sorted(f"t{n} start" for n in range(len(specs)))
    running.until(lambda: len(ledger.read_text().splitlines()) >= len(specs), "all have begun")

    assert wanted == sorted(ledger.read_text().splitlines())
    assert {each.id for each in specs} == set(await _facts(own))


async def test_no_orphan_outlives_init(own: RunningRuntime) -> None:
    """Kill -9 of init takes all with it; the next runtime tells what it saw."""
    spec = own.spec("spin", pod="orphan")
    worker = await own.started(spec)
    assert own.process is not None
    family = [own.service("supervisor"), own.service("fork"), worker.pid]
    own.process.kill()
    own.process.wait()
    for pid in family:
        running.until(functools.partial(running.is_gone, pid), f"{pid} is gone")
    own.start()
    how = await own.ended(spec.id)

    assert (137, EndedBy.UNKNOWN, "ContainerStatusUnknown") == (how.code, how.ended_by, how.reason)


async def test_endings_outlive_everything(own: RunningRuntime) -> None:
    """What ended before the runtime was killed is told the same afterwards."""
    spec = own.spec("exit", "42", pod="before")
    how = await own.run(spec)
    assert own.process is not None
    own.process.kill()
    own.process.wait()
    own.start()

    assert how == await own.ended(spec.id)


async def test_what_an_earlier_runtime_began_is_told_as_that(own: RunningRuntime) -> None:
    """Whether it had ended by then or not; a supervisor that dies is no end."""
    over, new = own.spec("exit", "0", pod="over"), own.spec("exit", "0", pod="new")
    ran = own.spec("sleep", pod="ran")
    await own.run(over)
    await own.started(ran)
    own.kill("supervisor")
    before = await _earlier(own)
    await _replace(own)
    await own.run(new)
    after = await _earlier(own)
    own.kill("supervisor")

    assert before == set()
    assert after == {over.id, ran.id} == await _earlier(own)


async def test_nothing_is_begun_for_a_runtime_that_is_no_more(own: RunningRuntime) -> None:
    """A start is decided by what is known; of its successor nothing is yet."""
    async with contextlib.aclosing(own.facts()) as facts:
        await own.run(own.spec("exit", "0", pod="first"))
        await anext(facts)
        await own.run(own.spec("exit", "0", pod="second"))
        await anext(facts)  # so that what was listed has been taken in
        knows = own.containers
        life = knows.life()
        await _replace(own)
        with pytest.raises(errors.Outdated, match="meant for is no more"):
            await knows.start(own.spec("exit", "0", pod="third"), life=life)


async def _replace(own: RunningRuntime) -> None:
    assert own.process is not None
    family = [own.service("supervisor"), own.service("fork")]
    own.process.kill()
    own.process.wait()
    for pid in family:
        running.until(functools.partial(running.is_gone, pid), f"{pid} is gone")
    own.start()


async def _earlier(own: RunningRuntime) -> set[records.AttemptId]:
    facts = await _facts(own)
    return {x.id for x in facts.values() if isinstance(x, observed.Ended) and x.earlier}


async def test_what_a_power_cut_left_empty_stops_nobody(own: RunningRuntime) -> None:
    """An ending is the journal's then; programs are compiled anew."""
    spec, stopped = own.spec("exit", "42", pod="before"), own.spec("spin", pod="stopped")
    await own.run(spec)
    await own.started(stopped)
    await own.containers.stop(stopped.id, grace_s=60.0)
    assert own.process is not None
    own.process.kill()
    own.process.wait()
    files = [each for each in own.settings.state.rglob("*") if each.is_file()]
    for each in files:
        if each.name != layout.JOURNAL:
            os.truncate(each, 0)
    own.start()

    assert (await own.ended(spec.id)).code == 42
    assert (await own.ended(stopped.id)).ended_by is EndedBy.UNKNOWN
    again = own.spec("exit", "43", pod="before", attempt=1)
    assert (await own.run(again)).code == 43
