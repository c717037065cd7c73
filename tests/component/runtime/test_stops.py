"""Stopping: on time, without loss of output, told as what it was."""

import dataclasses
import time
from pathlib import Path

import pytest

from tests.component.runtime.running import RunningRuntime, until
from wasm_node.protocol import records
from wasm_node.protocol.records import EndedBy

BEGUN = r"""
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\0b\00\00\00")
  (data (i32.const 16) "whole\nbegun")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (loop $forever (br $forever))))
"""
"""Writes a line and a half, and then spins."""


@pytest.mark.parametrize("guest", ["spin", "sleep"])
async def test_a_guest_that_notices_nothing_is_ended(shared: RunningRuntime, guest: str) -> None:
    """A loop and a long sleep are gone within two seconds: stops, 143."""
    spec = shared.spec(guest, pod=f"stop-{guest}")
    await shared.started(spec)
    begun = time.monotonic()
    await shared.containers.stop(spec.id, grace_s=0.0)
    how = await shared.ended(spec.id)

    assert (143, EndedBy.STOP) == (how.code, how.ended_by)
    assert time.monotonic() - begun < 2.0


async def test_a_guest_may_use_its_grace(shared: RunningRuntime) -> None:
    """One that ends by itself in time keeps its own ending."""
    spec = shared.spec("count", "20", "10", pod="graceful")
    await shared.started(spec)
    await shared.containers.stop(spec.id, grace_s=10.0)
    how = await shared.ended(spec.id)

    assert (0, EndedBy.ITSELF) == (how.code, how.ended_by)
    assert [f"n {each}" for each in range(10)] == [text for _, _, text in shared.log(spec)]


async def test_grace_ends(shared: RunningRuntime) -> None:
    """One that does not is ended when the grace is over, not before."""
    spec = shared.spec("sleep", pod="graceless")
    await shared.started(spec)
    begun = time.monotonic()
    await shared.containers.stop(spec.id, grace_s=0.5)
    how = await shared.ended(spec.id)

    assert (143, EndedBy.STOP) == (how.code, how.ended_by)
    assert 0.4 < time.monotonic() - begun < 3.0


async def test_asking_again_only_shortens(shared: RunningRuntime) -> None:
    """A second stop with a longer grace changes nothing, a shorter one does."""
    spec = shared.spec("sleep", pod="impatient")
    await shared.started(spec)
    begun = time.monotonic()
    for grace_s in (60.0, 600.0, 0.0, 60.0):
        await shared.containers.stop(spec.id, grace_s=grace_s)
    how = await shared.ended(spec.id)

    assert how.ended_by is EndedBy.STOP
    assert time.monotonic() - begun < 3.0


async def test_a_stop_loses_no_output(shared: RunningRuntime) -> None:
    """What a flooding guest wrote before its stop is whole lines in order."""
    spec = shared.spec("flood", "4096", pod="flooding")
    await shared.started(spec)
    await shared.containers.stop(spec.id, grace_s=0.2)
    await shared.ended(spec.id)
    numbers = [int(text.rstrip(".") or -1) for _, _, text in shared.log(spec)]

    assert len(numbers) > 100
    assert list(range(len(numbers) - 1)) == numbers[:-1]


async def test_a_stop_writes_the_line_under_way(shared: RunningRuntime, tmp_path: Path) -> None:
    """What a busy guest wrote without a newline is in its log."""
    guest = tmp_path / "begun.wat"
    guest.write_text(BEGUN)
    spec = shared.spec(guest, pod="begun")
    await shared.started(spec)
    until(lambda: "".join(text for _, _, text in shared.log(spec)) != "", "it has begun")
    await shared.containers.stop(spec.id, grace_s=0.0)
    how = await shared.ended(spec.id)

    assert (143, EndedBy.STOP) == (how.code, how.ended_by)
    assert [("stdout", "F", "whole"), ("stdout", "F", "begun")] == shared.log(spec)


async def test_stopping_what_is_not_there_is_fine(shared: RunningRuntime) -> None:
    """An attempt that never was, or has ended, may be stopped."""
    spec = shared.spec("exit", "3", pod="done")
    await shared.containers.stop(spec.id, grace_s=0.0)
    how = await shared.run(spec)
    await shared.containers.stop(spec.id, grace_s=0.0)

    assert (3, how) == (how.code, await shared.ended(spec.id))


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
    own.end()
    own.settings = dataclasses.replace(own.settings, shutdown_grace_s=60.0)
    own.start()
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
    assert 0.4 < took_s[1] < 3.0


async def test_critical_pods_end_last(own: RunningRuntime) -> None:
    """All others have their share of the grace first, and then they theirs."""
    own.end()
    own.settings = dataclasses.replace(
        own.settings, shutdown_grace_s=1.0, shutdown_grace_critical_s=0.4
    )
    own.start()
    high = records.CRITICAL_PRIORITY
    ranks = {"lowest": -10, "low": 0, "high": high - 1, "critical": high, "most": high + 1000}
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
    assert all(0.5 < each < 0.95 for each in took_s[:3]), took_s
    assert all(0.95 < each < 3.0 for each in took_s[3:]), took_s


async def test_critical_pods_wait_for_nobody_in_vain(own: RunningRuntime) -> None:
    """Their turn comes as soon as the others have ended."""
    own.end()
    own.settings = dataclasses.replace(
        own.settings, shutdown_grace_s=60.0, shutdown_grace_critical_s=0.2
    )
    own.start()
    quick = dataclasses.replace(own.spec("sleep", pod="quick"), stop_grace_s=0.0)
    critical = dataclasses.replace(
        own.spec("sleep", pod="critical"), priority=records.CRITICAL_PRIORITY
    )
    for each in (quick, critical):
        await own.started(each)
    begun = time.monotonic()

    assert own.end() == 0
    assert 0.2 < time.monotonic() - begun < 5.0


async def test_told_twice_it_ends_at_once(own: RunningRuntime) -> None:
    """A second SIGTERM leaves nobody any grace, critical or not."""
    own.end()
    own.settings = dataclasses.replace(
        own.settings, shutdown_grace_s=60.0, shutdown_grace_critical_s=30.0
    )
    own.start()
    for name, priority in (("low", 0), ("critical", records.CRITICAL_PRIORITY)):
        await own.started(dataclasses.replace(own.spec("sleep", pod=name), priority=priority))
    begun = time.monotonic()
    assert own.process is not None
    stop = own.settings.state / "pods" / "low" / "containers" / "main" / "0" / "stop.json"
    own.process.terminate()
    until(stop.exists, "the first word has come")

    assert own.end() == 0
    assert time.monotonic() - begun < 5.0


async def test_who_was_asked_to_stop_before_was_not_shut_down(own: RunningRuntime) -> None:
    """Why an attempt ends is what was said first."""
    own.end()
    own.settings = dataclasses.replace(own.settings, shutdown_grace_s=0.3)
    own.start()
    spec = own.spec("sleep", pod="deleted")
    await own.started(spec)
    await own.containers.stop(spec.id, grace_s=30.0)

    assert own.end() == 0
    own.start()
    assert (await own.ended(spec.id)).ended_by is EndedBy.STOP
