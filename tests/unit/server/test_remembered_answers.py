"""Answers are kept for their time, and asked for once."""

import asyncio

import pytest

from wasm_node.agent.server import remembering


class Asked:
    """A question with its answers, the time, and how often it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.memory: remembering.Remembered[str, int] = remembering.Remembered(
            keep_s=lambda answer: 10.0 * answer, clock=lambda: self.now, most=2
        )

    async def ask(self) -> int:
        """Answer how often this was asked."""
        self.count += 1
        await self.may_answer.wait()
        return self.count

    async def get(self, key: str = "key") -> int:
        """Get the answer for a key."""
        return await self.memory.get(key, self.ask)


async def test_an_answer_counts_for_its_own_time() -> None:
    """How long an answer is kept depends on the answer."""
    asked = Asked()
    answers = []
    for asked.now in (0.0, 9.9, 10.0, 29.9, 30.0):
        answers.append(await asked.get())

    assert answers == [1, 1, 2, 2, 3]


async def test_those_who_ask_at_once_share_one_question() -> None:
    """Concurrent askers of one key get one answer; another key is its own."""
    asked = Asked()
    asked.may_answer.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asked.get("a")) for _ in range(20)]
        tasks.append(group.create_task(asked.get("b")))
        await asyncio.sleep(0)
        asked.may_answer.set()

    assert asked.count == 2
    assert len({each.result() for each in tasks[:20]}) == 1


async def test_the_next_asks_when_the_first_gives_up() -> None:
    """One asker's cancellation is no other's."""
    asked = Asked()
    asked.may_answer.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(asked.get())
        second = group.create_task(asked.get())
        await asyncio.sleep(0)
        first.cancel()
        asked.may_answer.set()

    assert first.cancelled()
    assert second.result() == 2


async def test_failures_are_not_kept() -> None:
    """After a failure the next asker asks anew."""
    asked = Asked()

    async def fail() -> int:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await asked.memory.get("key", fail)

    assert await asked.get() == 1


async def test_memory_is_bounded() -> None:
    """Beyond the bound the oldest answer goes."""
    asked = Asked()
    for key in ("a", "b", "c", "b", "a"):
        await asked.get(key)

    assert asked.count == 4
