"""
Blocking steps in a thread that outlive no cancellation.

`asyncio.to_thread` lets a cancelled task go on while its thread still writes
to a file that the task's cleanup is about to close. Here a cancellation waits
for the step to end first, so steps are short or can be interrupted.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


async def finish(
    step: Callable[..., Value], *args: object, interrupt: Callable[[], None] = lambda: None
) -> Value:
    """
    Run a blocking step in a thread and return its result.

    A cancellation calls `interrupt`, which should make the step end early, and
    goes on once the step has ended.
    """
    future = asyncio.get_running_loop().run_in_executor(None, step, *args)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        interrupt()
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:  # asked twice: still one end
                continue
        future.exception()
        raise
