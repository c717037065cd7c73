"""Many containers: all of them, each on its own, and nothing left over."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.component.runtime import running
from tests.component.runtime.running import RunningRuntime
from wasm_node.agent.model import observed
from wasm_node.protocol import records, settings

AT_ONCE = 32
MOST = {settings.WASMTIME_PY: (6 << 20, 3), settings.NATIVE: (1 << 20, 1)}
"""Private bytes and threads of a worker whose guest sleeps."""


async def _random(own: RunningRuntime, count: int) -> set[str]:
    specs = {(each := own.spec("random", pod=f"r{number}")).id: each for number in range(count)}
    waiting = set(specs)
    slots = asyncio.Semaphore(AT_ONCE)

    async def start(spec: records.ContainerSpec) -> None:
        async with slots:
            await own.started(spec)

    async with asyncio.TaskGroup() as group:
        for each in specs.values():
            group.create_task(start(each))
        async for fact in own.facts():
            if isinstance(fact, observed.Ended):
                assert fact.exit.code == 0, fact
                waiting.discard(fact.id)
            if not waiting:
                break
    return {own.log(each)[0][2] for each in specs.values()}


def _leftovers(own: RunningRuntime) -> tuple[int, list[str]]:
    """Return how many descriptors the services hold, and the workers there."""
    assert own.process is not None
    services = [own.process.pid, own.service("supervisor"), own.service("fork")]
    held = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in services)  # noqa: PTH208  # counted
    names = [running.comm(pid) for pid in running.children(own.process.pid)]
    return held, [each for each in names if each.startswith("wasm:")]


async def _load(stop: asyncio.Event, own: RunningRuntime) -> None:
    spinners = [own.spec("spin", pod=f"load{number}") for number in range(os.cpu_count() or 1)]
    for each in spinners:
        await own.started(each)
    await stop.wait()
    for each in spinners:
        await own.containers.stop(each.id, grace_s=0.0)
        await own.ended(each.id)


async def _storm(own: RunningRuntime, count: int) -> None:
    await own.run(own.spec("random", pod="first"))
    before = _leftovers(own)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_load(stop, own))
        seen = await _random(own, count)
        stop.set()
    running.until(lambda: _leftovers(own) <= before, f"no more than before: {before}")

    assert len(seen) == count
    assert all(len(each) == 64 for each in seen)


async def test_a_hundred_forks_under_load(own: RunningRuntime) -> None:
    """No fork hangs, no randomness repeats, nothing is left over."""
    await _storm(own, 100)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_thousand_forks_under_load(own: RunningRuntime) -> None:
    """The same a thousand times over."""
    await _storm(own, 1000)


@pytest.mark.timeout(120)
async def test_idle_workers_are_cheap(own: RunningRuntime, engine: str) -> None:
    """Fifty sleeping guests cost no more each than their engine may."""
    most_bytes, most_threads = MOST[engine]
    pids = [(await own.started(own.spec("sleep", pod=f"s{n}"))).pid for n in range(50)]
    sizes = [_private_bytes(pid) for pid in pids]

    assert max(sizes) < most_bytes
    assert max(running.thread_count(pid) for pid in pids) <= most_threads


def _private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private"))
