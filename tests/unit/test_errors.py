"""Errors by behaviour, and how they leave a TaskGroup."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from wasm_node.agent import errors


async def _refused() -> None:
    raise errors.BadInput("cannot: no", reason="No")


async def _broken() -> None:
    raise ValueError("a mistake of ours")


async def _together(*parts: Callable[[], Awaitable[None]]) -> None:
    async def one(part: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup():
            await part()

    with errors.unwrapped():
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(one(part))


async def test_an_error_of_a_group_comes_out_as_it_is() -> None:
    """Through any number of groups, with the group as its cause."""
    with pytest.raises(errors.BadInput, match="cannot: no") as refused:
        await _together(_refused, _refused)

    assert isinstance(refused.value.__cause__, BaseExceptionGroup)


async def test_what_is_no_error_of_ours_stays_in_its_group() -> None:
    """A mistake is not hidden behind an error that came with it."""
    with pytest.raises(BaseExceptionGroup) as group:
        await _together(_refused, _broken)

    assert group.value.subgroup(ValueError) is not None
