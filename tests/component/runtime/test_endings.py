"""Every way to end, told truly: the code, who ended it, and why."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from tests.component.runtime.running import RunningRuntime, until
from wasm_node.agent import errors
from wasm_node.agent.model import ids
from wasm_node.protocol import settings
from wasm_node.protocol.records import EndedBy, Mount
from wasm_node.runtime.limits import host

MIB = 1 << 20


@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 126, 127, 130, 137, 143, 255])
async def test_a_guests_own_code_comes_through(shared: RunningRuntime, code: int) -> None:
    """Each exit code is reported as it was given, by the guest itself."""
    how = await shared.run(shared.spec("exit", str(code), pod=f"exit-{code}"))

    assert (code, EndedBy.ITSELF) == (how.code, how.ended_by)
    assert how.reason == ("Completed" if code == 0 else "Error")
    assert how.finished_at_ns >= how.started_at_ns > 0


async def test_a_failure_never_becomes_a_success(shared: RunningRuntime) -> None:
    """256 is 255 with a message, since a process has eight bits of code."""
    how = await shared.run(shared.spec("exit", "256", pod="exit-256"))

    assert how.code == 255
    assert "256" in how.message


async def test_a_trap_says_where(shared: RunningRuntime) -> None:
    """A trap is 134 WasmTrap; the message has the backtrace, so has the log."""
    spec = shared.spec("trap", pod="trap")
    how = await shared.run(spec)

    assert (134, EndedBy.ITSELF, "WasmTrap") == (how.code, how.ended_by, how.reason)
    assert "wasm backtrace" in how.message
    assert "wasm backtrace" in "".join(
        text for stream, _, text in shared.log(spec) if stream == "stderr"
    )


async def test_a_stack_overflow_is_a_trap(shared: RunningRuntime) -> None:
    """Endless recursion ends the guest, not its worker."""
    how = await shared.run(shared.spec("stackoverflow", pod="overflow"))

    assert (134, "WasmTrap") == (how.code, how.reason)
    assert "stack" in how.message


async def test_a_module_without_entry_says_what_it_has(shared: RunningRuntime) -> None:
    """No _start is a StartError that names what lacks and what is there."""
    how = await shared.run(shared.spec("nostart", pod="nostart"))

    assert (128, EndedBy.NEVER_STARTED, "StartError") == (how.code, how.ended_by, how.reason)
    assert "_start" in how.message
    assert "memory" in how.message


async def test_a_mount_that_is_not_there_is_a_start_error(shared: RunningRuntime) -> None:
    """What cannot be opened for the guest is named."""
    spec = shared.spec(
        "exit", pod="nomount", mounts=[Mount("/no/such/place", "/data", read_only=True)]
    )
    how = await shared.run(spec)

    assert (EndedBy.NEVER_STARTED, "StartError") == (how.ended_by, how.reason)
    assert "/no/such/place" in how.message


@pytest.mark.parametrize(
    ("guest", "code"), [("component-hello", 0), ("component-exit", 42), ("component-error", 1)]
)
async def test_components_end_like_modules(shared: RunningRuntime, guest: str, code: int) -> None:
    """wasi:cli/run: ok is 0, an error 1, exit-with-code exact."""
    how = await shared.run(shared.spec(guest, pod=guest))

    assert (code, EndedBy.ITSELF) == (how.code, how.ended_by), how.message


async def test_a_command_of_tasks(shared: RunningRuntime, engine: str) -> None:
    """WASI 0.3: what it has begun before its answer is done before its end."""
    spec = shared.spec("component-task", pod="task")
    if engine == settings.WASMTIME_PY:
        with pytest.raises(errors.BadInput, match=r"imports wasi:cli/.*@0\.3\.0"):
            await shared.run(spec)
        return
    how = await shared.run(spec)

    assert (1, EndedBy.ITSELF, "Error") == (how.code, how.ended_by, how.reason)
    assert [text for _, _, text in shared.log(spec)] == ["hello from a task"]


async def test_memory_beyond_its_group_is_certain(shared: RunningRuntime) -> None:
    """In a group the kernel ends who takes too much, and says so."""
    how = await shared.run(shared.spec("grow", pod="grow", memory=32 * MIB))

    assert (137, EndedBy.MEMORY, "OOMKilled") == (how.code, how.ended_by, how.reason)
    assert "inferred" not in how.message


async def test_a_trap_near_the_limit_is_a_trap(shared: RunningRuntime) -> None:
    """Memory close to the limit alone does not make an OOMKilled."""
    how = await shared.run(shared.spec("neartrap", "31", pod="neartrap", memory=32 * MIB))

    assert (134, "WasmTrap") == (how.code, how.reason)


async def test_denied_memory_is_told(ordinary: RunningRuntime, engine: str) -> None:
    """Without a group the engine bounds it; ours knows, the other infers."""
    how = await ordinary.run(ordinary.spec("grow", pod="denied", memory=8 * MIB))

    assert (137, EndedBy.MEMORY, "OOMKilled") == (how.code, how.ended_by, how.reason)
    assert how.message.startswith("inferred") is (engine == settings.WASMTIME_PY)
    assert str(8 * MIB) in how.message


async def test_a_trap_near_the_bound(ordinary: RunningRuntime, engine: str) -> None:
    """Who sees no denial goes by the size of memory; who would see it not."""
    how = await ordinary.run(ordinary.spec("neartrap", "8", pod="near", memory=8 * MIB))

    inferred = engine == settings.WASMTIME_PY
    assert ("OOMKilled" if inferred else "WasmTrap") == how.reason
    assert ("inferred" in how.message) is inferred


async def test_more_memory_than_allowed_cannot_start(ordinary: RunningRuntime) -> None:
    """A module whose minimum exceeds the bound is a StartError that says so."""
    how = await ordinary.run(ordinary.spec("exit", "0", pod="least", memory=1024))

    assert (EndedBy.NEVER_STARTED, "StartError") == (how.ended_by, how.reason)
    assert "memory" in how.message


async def test_a_worker_that_is_shot_is_a_crash(shared: RunningRuntime) -> None:
    """A signal that nobody here sent is told as that: 128 + its number."""
    spec = shared.spec("sleep", pod="shot")
    running = await shared.started(spec)
    os.kill(running.pid, signal.SIGKILL)
    how = await shared.ended(spec.id)

    assert (137, EndedBy.CRASH, "Error") == (how.code, how.ended_by, how.reason)
    assert "SIGKILL" in how.message


async def test_nothing_is_left_of_the_ended(own: RunningRuntime) -> None:
    """Once its pod is forgotten, no file and no group is left of a guest."""
    spec = own.spec("exit", "0", pod="gone", memory=32 * MIB)
    await own.run(spec)
    await own.containers.forget(ids.pod_uid("gone"))

    assert [] == list((own.settings.state / "pods" / "gone").rglob("*"))
    memory = Path("/sys/fs/cgroup/memory")
    until(lambda: not list(memory.rglob(f"{host.name(own.settings.state)}")), "no group is left")


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [(True, "3", "the last words\n"), (False, "3", ""), (True, "0", "")],
    ids=["failed", "not-wanted", "well"],
)
async def test_a_failure_may_be_told_by_the_log(
    shared: RunningRuntime, wanted: bool, code: str, message: str
) -> None:
    """The end of the log stands for a message, where that is wanted."""
    spec = shared.spec("last-words", code, pod=f"words-{wanted}-{code}".lower())
    how = await shared.run(dataclasses.replace(spec, message_from_log=wanted))

    assert (how.code, how.message) == (int(code), message)


async def test_the_log_adds_to_what_is_known(shared: RunningRuntime) -> None:
    """A trap is told first, and then what was written."""
    spec = dataclasses.replace(shared.spec("trap", pod="told-trap"), message_from_log=True)
    how = await shared.run(spec)
    plain = await shared.run(shared.spec("trap", pod="plain-trap"))
    first = plain.message.splitlines()[0]

    assert how.message.startswith(first)
    assert len(how.message) > len(plain.message)
