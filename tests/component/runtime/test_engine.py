"""The engine alone, with its own bound on memory: hosts without groups."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wasm import guests
from wasm_node.protocol import records
from wasm_node.protocol.records import EndedBy
from wasm_node.runtime.engines import outcomes, wasmtime_py

MIB = 1 << 20


@pytest.fixture(scope="module")
def engine() -> wasmtime_py.Engine:
    """Return an engine for the tests of this module."""
    return wasmtime_py.Engine()


@pytest.fixture
def run(engine: wasmtime_py.Engine, tmp_path: Path) -> Callable[..., outcomes.Outcome]:
    """Return how to compile, load and run a guest of tests.wasm."""

    def compile_and_run(name: str, *args: str, limit: int | None = None) -> outcomes.Outcome:
        compiled = engine.compile(guests.path(name).read_bytes())
        (tmp_path / name).write_bytes(compiled.code)
        spec = records.ContainerSpec(
            id=records.AttemptId("pod", "main", 0),
            pod_namespace="default",
            pod_name="pod",
            module_path="",
            module_digest="",
            argv=(name, *args),
            env=(),
            mounts=(),
            log_path="",
            memory_limit_bytes=limit,
            cpu_limit_millis=None,
        )
        code = engine.load(str(tmp_path / name), compiled.kind)
        return engine.run(code, engine.admit(spec, direct=False), limit, lambda: None)

    return compile_and_run


Run = Callable[..., outcomes.Outcome]


def test_a_denied_grow_is_inferred(run: Run) -> None:
    """A trap with memory at its bound is OOMKilled, and says it is a guess."""
    outcome = run("grow", limit=8 * MIB)

    assert (outcome.code, outcome.ended_by, outcome.reason) == (137, EndedBy.MEMORY, "OOMKilled")
    assert outcome.message.startswith("inferred")
    assert "unreachable" in outcome.trace


def test_a_trap_near_the_bound_is_at_most_inferred(run: Run) -> None:
    """Nobody can tell it from a denied grow; so it does not claim to know."""
    outcome = run("neartrap", "8", limit=8 * MIB)

    assert "inferred" in outcome.message


def test_a_trap_far_from_the_bound_is_a_trap(run: Run) -> None:
    """More than one step below the bound memory is not blamed."""
    outcome = run("neartrap", "4", limit=8 * MIB)

    assert (outcome.code, outcome.ended_by, outcome.reason) == (134, EndedBy.ITSELF, "WasmTrap")


def test_success_is_never_blamed_on_memory(run: Run) -> None:
    """Exit 0 is Completed, however close to the bound."""
    outcome = run("exit", "0", limit=2 * MIB)

    assert (outcome.code, outcome.reason) == (0, "Completed")


def test_more_memory_than_allowed_cannot_start(run: Run) -> None:
    """A module whose minimum exceeds the bound says so."""
    with pytest.raises(outcomes.CannotStart, match="memory"):
        run("exit", "0", limit=1024)


@pytest.mark.parametrize("text", [b"(module (fnc))", b"\0asm\1\0\0\0\x7f", b"", b"\x7fELF"])
def test_what_is_no_wasm_is_said_so(engine: wasmtime_py.Engine, text: bytes) -> None:
    """Bytes of any other kind are a ValueError with the place in it."""
    with pytest.raises(ValueError, match=r"\S"):
        engine.compile(text)


def test_an_import_of_a_wrong_type_is_noticed(engine: wasmtime_py.Engine) -> None:
    """The right name with another signature is refused when it is compiled."""
    text = b'(module (import "wasi_snapshot_preview1" "proc_exit" (func)) (func (export "_start")))'

    with pytest.raises(ValueError, match="incompatible import type"):
        engine.compile(text)
