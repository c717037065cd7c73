"""Steps in threads end before the task that asked for them goes on."""

import asyncio
import threading

import pytest

from wasm_node.agent.asynckit import threads


async def test_results_and_errors() -> None:
    """A step's result or error is the caller's."""

    def fail() -> None:
        raise ValueError("no")

    assert await threads.finish(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="no"):
        await threads.finish(fail)


async def test_cancellation_waits_for_the_step() -> None:
    """However often it is cancelled, the caller goes on after the step."""
    began, interrupted, may_end = (threading.Event() for _ in range(3))
    ended = False

    def step() -> None:
        nonlocal ended
        began.set()
        may_end.wait(10)
        ended = True

    async with asyncio.TaskGroup() as group:
        task = group.create_task(threads.finish(step, interrupt=interrupted.set))
        await threads.finish(began.wait)
        for _ in range(2):
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)

        assert not task.done()
        assert interrupted.is_set()
        may_end.set()

    assert task.cancelled()
    assert ended
