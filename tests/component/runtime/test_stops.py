"""Stopping: on time, without loss of output, told as what it was."""

import time
from pathlib import Path

import pytest

from tests.component.runtime.running import RunningRuntime, until
from wasm_node.protocol import journal, layout, records
from wasm_node.protocol.records import EndedBy

_COARSE_NS = 20_000_000
"""What one clock may be behind another."""

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
    """A loop and a long sleep are given no time: stops, 143."""
    spec = shared.spec(guest, pod=f"stop-{guest}")
    await shared.started(spec)
    await shared.containers.stop(spec.id, grace_s=0.0)
    asked_ns = time.time_ns()
    how = await shared.ended(spec.id)

    assert (143, EndedBy.STOP) == (how.code, how.ended_by)
    assert _note(shared, spec).deadline_ns <= asked_ns  # when it was told


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
    before_ns = time.time_ns()
    await shared.containers.stop(spec.id, grace_s=0.5)
    how = await shared.ended(spec.id)

    assert (143, EndedBy.STOP) == (how.code, how.ended_by)
    assert how.finished_at_ns - before_ns >= 500_000_000 - _COARSE_NS


async def test_asking_again_only_shortens(shared: RunningRuntime) -> None:
    """A second stop with a longer grace changes nothing, a shorter one does."""
    spec = shared.spec("sleep", pod="impatient")
    await shared.started(spec)
    before_ns = time.time_ns()
    await shared.containers.stop(spec.id, grace_s=60.0)
    first_ns = time.time_ns()
    await shared.containers.stop(spec.id, grace_s=600.0)
    noted_ns = _note(shared, spec).deadline_ns
    for grace_s in (0.0, 60.0):
        await shared.containers.stop(spec.id, grace_s=grace_s)
    last_ns = time.time_ns()
    how = await shared.ended(spec.id)

    assert how.ended_by is EndedBy.STOP
    assert before_ns <= noted_ns - 60 * 10**9 <= first_ns
    assert _note(shared, spec).deadline_ns <= last_ns


async def test_a_stop_loses_no_output(shared: RunningRuntime) -> None:
    """What a flooding guest wrote before its stop is whole lines in order."""
    spec = shared.spec("flood", "4096", pod="flooding")
    await shared.started(spec)
    until(lambda: Path(spec.log_path).read_bytes().count(b"\n") > 200, "it floods")
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


def _note(shared: RunningRuntime, spec: records.ContainerSpec) -> journal.StopNote:
    """Read until when a guest was given time."""
    file = layout.attempt(shared.settings.state, spec.id) / layout.STOP
    return journal.StopNote.from_json(file.read_bytes())


async def test_stopping_what_is_not_there_is_fine(shared: RunningRuntime) -> None:
    """An attempt that never was, or has ended, may be stopped."""
    spec = shared.spec("exit", "3", pod="done")
    await shared.containers.stop(spec.id, grace_s=0.0)
    how = await shared.run(spec)
    await shared.containers.stop(spec.id, grace_s=0.0)

    assert (3, how) == (how.code, await shared.ended(spec.id))
