"""One worker per key."""

import asyncio
from collections import Counter

from wasm_node.agent.asynckit import keyed


async def test_every_poke_is_followed_by_a_run() -> None:
    """A poke during a run leads to one more run, not to a lost change."""
    runs: Counter[str] = Counter()
    gate = asyncio.Event()
    entered = asyncio.Event()

    async def handle(key: str) -> None:
        runs[key] += 1
        entered.set()
        await gate.wait()

    workers = keyed.KeyedWorkers(handle, limit=4)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(workers.run())
        workers.poke("a")
        await entered.wait()
        workers.poke("a")
        workers.poke("a")
        gate.set()
        while "0 active" not in repr(workers):
            await asyncio.sleep(0)
        running.cancel()

    assert {"a": 2} == dict(runs)


async def test_one_key_never_runs_twice_at_once() -> None:
    """Runs of one key follow each other; different keys overlap."""
    now: set[str] = set()
    most = 0
    done: Counter[str] = Counter()

    async def handle(key: str) -> None:
        nonlocal most
        assert key not in now
        now.add(key)
        most = max(most, len(now))
        await asyncio.sleep(0)
        now.remove(key)
        done[key] += 1

    workers = keyed.KeyedWorkers(handle, limit=2)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(workers.run())
        for _ in range(50):
            for key in "abc":
                workers.poke(key)
            await asyncio.sleep(0)
        while "0 active" not in repr(workers):
            await asyncio.sleep(0)
        running.cancel()

    assert most == 2
    assert set(done) == set("abc")


async def test_a_poke_makes_a_later_one_needless() -> None:
    """A timer is dropped when its key is poked before; the earliest fires."""
    runs: Counter[str] = Counter()
    ran = asyncio.Event()

    async def handle(key: str) -> None:
        runs[key] += 1
        if key == "timer":
            ran.set()

    workers = keyed.KeyedWorkers(handle, limit=2)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(workers.run())
        workers.poke_later("a", 3600)
        workers.poke("a")
        workers.poke_later("timer", 0)
        workers.poke_later("timer", 3600)
        await ran.wait()
        running.cancel()

    assert {"a": 1, "timer": 1} == dict(runs)
    assert "0 waiting" in repr(workers)


async def test_pokes_before_the_start_are_kept() -> None:
    """What was poked before `run` is handled once it runs."""
    ran = asyncio.Event()

    async def handle(key: str) -> None:
        ran.set()

    workers = keyed.KeyedWorkers(handle, limit=1)
    workers.poke("a")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(workers.run())
        await ran.wait()
        running.cancel()
