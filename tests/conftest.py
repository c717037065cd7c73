"""A call that blocks the event loop fails the test that made it."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def blocking_calls_fail() -> Iterator[BlockBuster]:
    """Watch the agent's own code; what tests do themselves is theirs."""
    with blockbuster_ctx(scanned_modules=["wasm_node.agent"]) as watching:
        yield watching
