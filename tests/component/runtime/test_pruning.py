"""Compiled code goes when its module has gone, and not before."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.runtime import running
from tests.wasm import guests
from wasm_node.agent import errors
from wasm_node.protocol import records


@pytest.fixture
def runtime(engine: str) -> Iterator[running.RunningRuntime]:
    """Give a runtime that has compiled nothing."""
    with running.runtime(engine=engine) as made:
        yield made


def _module(directory: Path, guest: str) -> Path:
    """Return a copy of a guest, which can be removed."""
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(guests.path(guest), directory / f"{guest}.wasm"))


def _code(runtime: running.RunningRuntime) -> set[Path]:
    return set((runtime.settings.state / "compiled").glob("*/*"))


async def test_code_goes_after_its_module(runtime: running.RunningRuntime, tmp_path: Path) -> None:
    """Both files of it, and what they took is said; other code stays."""
    gone, stays = _module(tmp_path / "a", "exit"), _module(tmp_path / "b", "sleep")
    await runtime.containers.prepare(running.program(stays))
    kept = _code(runtime)
    await runtime.containers.prepare(running.program(gone))
    (code,) = [each for each in _code(runtime) - kept if not each.suffix]
    size = code.stat().st_blocks * 512
    none = await runtime.containers.prune()
    gone.unlink()
    freed = await runtime.containers.prune()

    assert (none, freed) == (0, size)
    assert _code(runtime) == kept
    _module(tmp_path / "a", "exit")
    record = await runtime.run(runtime.spec(gone, "3"))
    assert record.code == 3


async def test_code_of_what_runs_stays(runtime: running.RunningRuntime, tmp_path: Path) -> None:
    """Of containers, adopted ones too, and of programs beside them."""
    module = _module(tmp_path, "sleep")
    spec = runtime.spec(module)
    await runtime.started(spec)
    module.unlink()
    kept = _code(runtime)
    before = await runtime.containers.prune()
    runtime.kill("supervisor")
    adopted = await running.patiently(runtime.containers.prune)
    during = _code(runtime)
    await runtime.containers.stop(spec.id, grace_s=0.0)
    await runtime.ended(spec.id)
    after = await runtime.containers.prune()

    assert (before, adopted) == (0, 0)
    assert during == kept
    assert after > 0
    assert _code(runtime) == set()


async def test_the_same_module_in_another_image_keeps_its_code(
    runtime: running.RunningRuntime, tmp_path: Path
) -> None:
    """From when it was asked for from there, after the first had gone."""
    first, second = _module(tmp_path / "a", "exit"), _module(tmp_path / "b", "exit")
    await runtime.containers.prepare(running.program(first))
    kept = _code(runtime)
    first.unlink()
    await runtime.run(runtime.spec(second, "0"))

    assert await runtime.containers.prune() == 0
    assert _code(runtime) == kept


async def test_a_full_disk_costs_a_note_and_no_start(
    runtime: running.RunningRuntime, tmp_path: Path
) -> None:
    """Where the code is from now on cannot be put down; it is there, though."""
    first, second = _module(tmp_path / "a", "exit"), _module(tmp_path / "b", "exit")
    await runtime.containers.prepare(running.program(first))
    pid = runtime.service("supervisor")
    (note,) = [each for each in _code(runtime) if each.suffix == ".json"]
    note.with_name(f".{note.name}.{pid}").mkdir()  # in the way, as it is written beside
    first.unlink()
    record = await runtime.run(runtime.spec(second, "3"))

    assert record.code == 3
    assert runtime.service("supervisor") == pid


@pytest.mark.parametrize("place", ["{name}", ".{name}.json.{pid}"])
async def test_code_that_cannot_be_kept_is_made_again(
    runtime: running.RunningRuntime, tmp_path: Path, place: str
) -> None:
    """It is refused for now, and why is said; nothing half done is left."""
    module = _module(tmp_path, "exit")
    await runtime.containers.prepare(running.program(module))
    pid = runtime.service("supervisor")
    (code,) = [each for each in _code(runtime) if not each.suffix]
    module.unlink()
    await runtime.containers.prune()
    _module(tmp_path, "exit")
    in_the_way = code.with_name(place.format(name=code.name, pid=pid))
    in_the_way.mkdir()
    with pytest.raises(errors.Retryable, match=f"cannot keep the code of {module}: "):
        await runtime.containers.prepare(running.program(module))
    left = {each for each in _code(runtime) if not each.is_dir()}
    in_the_way.rmdir()
    await runtime.containers.prepare(running.program(module))

    assert left <= {code}
    assert runtime.service("supervisor") == pid


async def test_what_nobody_can_ask_for_goes(
    runtime: running.RunningRuntime, tmp_path: Path
) -> None:
    """Code of another engine, and what a killed supervisor had not finished."""
    module = _module(tmp_path, "exit")
    await runtime.containers.prepare(running.program(module))
    kept = _code(runtime)
    (code,) = [each for each in kept if not each.suffix]
    other = runtime.settings.state / "compiled" / "other-engine-1"
    other.mkdir()
    for stray in (other / code.name, code.with_name(f".{code.name}.99999")):
        stray.write_bytes(b"x" * 5000)
    shutil.copy(code.with_suffix(".json"), other / f"{code.name}.json")

    assert await runtime.containers.prune() >= 10_000
    assert _code(runtime) == kept


async def test_starts_and_prunes_at_once(runtime: running.RunningRuntime, tmp_path: Path) -> None:
    """A start whose code is looked at meanwhile never finds it gone."""
    module = _module(tmp_path / "a", "exit")
    other = tmp_path / "b" / "exit.wasm"
    ends: list[records.ExitRecord] = []

    async def start() -> None:
        for number in range(12):
            await asyncio.to_thread(_swap, module, other, back=bool(number % 2))
            spec = runtime.spec(module if number % 2 else other, "0", pod=f"p{number}")
            await runtime.started(spec)
            ends.append(await runtime.ended(spec.id))

    async with asyncio.TaskGroup() as group:
        starting = group.create_task(start())
        while not starting.done():
            await runtime.containers.prune()

    assert [each.code for each in ends] == [0] * 12


def _swap(module: Path, other: Path, *, back: bool) -> None:
    other.parent.mkdir(exist_ok=True)
    source, target = (other, module) if back else (module, other)
    if source.exists():
        os.replace(source, target)  # noqa: PTH105  # the same
