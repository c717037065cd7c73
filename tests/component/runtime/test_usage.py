"""What is left, told by a runtime in real control groups with limits."""

import dataclasses
import functools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.runtime import running
from wasm_node.runtime.limits import hierarchies

MIB = 1 << 20
MEMORY = 300 * MIB
TASKS = 80


@pytest.fixture
def around() -> Iterator[dict[str, Path]]:
    """Give groups of memory and pids; they are removed once they are empty."""
    texts = [Path(f"/proc/self/{name}").read_text() for name in ("cgroup", "mountinfo")]
    own = hierarchies.controllers(*texts)
    name = f"wn-usage-{uuid.uuid4().hex[:8]}"
    made = {each: own[each] / name for each in ("memory", "pids")}
    for each in made.values():
        each.mkdir()
    (made["memory"] / "memory.limit_in_bytes").write_text(str(MEMORY))
    (made["pids"] / "pids.max").write_text(str(TASKS))
    yield made
    for each in made.values():
        running.until(functools.partial(_is_empty, each), f"nothing is left in {each}")
        each.rmdir()


def _is_empty(group: Path) -> bool:
    return not any(each.read_text() for each in group.rglob("cgroup.procs"))


@pytest.fixture
def bounded(around: dict[str, Path], engine: str) -> Iterator[running.RunningRuntime]:
    """Give a runtime in these groups."""
    joins = " && ".join(f"echo $$ > {each}/cgroup.procs" for each in around.values())
    words = ["sh", "-c", f'{joins} && exec "$@"', "sh"]
    with running.runtime(words, engine=engine) as made:
        yield made


async def test_limits_of_the_group_are_the_capacity(
    bounded: running.RunningRuntime, around: dict[str, Path]
) -> None:
    """And what is left of them is what the kernel says; a guest takes some."""
    before, tasks = await bounded.containers.left()
    spec = bounded.spec("hold", "64", "0")
    await bounded.started(spec)
    running.until(lambda: Path(spec.log_path).read_text().endswith(" 64\n"), "it has all")
    after, fewer = await bounded.containers.left()
    (share,) = await bounded.containers.shares()
    await anext(aiter(bounded.containers.facts()))
    room = bounded.containers.room()
    counted = int((around["pids"] / "pids.current").read_text())
    used = int((around["memory"] / "memory.usage_in_bytes").read_text())

    assert (before.capacity, tasks.capacity) == (MEMORY, TASKS)
    assert room is not None
    assert (room.memory_bytes, room.pids_max) == (MEMORY, TASKS)
    assert 64 * MIB <= before.available - after.available < 80 * MIB
    assert 64 * MIB <= share.memory_bytes < 72 * MIB
    assert fewer.available == TASKS - counted
    assert MEMORY - used <= after.available
    assert 1 <= tasks.available - fewer.available == share.tasks


async def test_less_than_the_group_allows_may_be_told(engine: str) -> None:
    """Then what counts is what the runtime and its guests use themselves."""
    with running.runtime(engine=engine) as made:
        made.end()
        made.settings = dataclasses.replace(made.settings, memory_bytes=400 * MIB)
        made.start()
        before, _ = await made.containers.left()
        spec = made.spec("hold", "64", "0")
        await made.started(spec)
        running.until(lambda: Path(spec.log_path).read_text().endswith(" 64\n"), "it has all")
        after, _ = await made.containers.left()

    assert before.capacity == 400 * MIB
    assert 250 * MIB < before.available < 400 * MIB
    assert 64 * MIB <= before.available - after.available < 72 * MIB
