"""Wanted pods from their source into the desired store."""

from wasm_node.agent import interfaces
from wasm_node.agent.model import desired
from wasm_node.agent.stores import pods


async def watch(source: interfaces.PodSource, wanted: pods.DesiredStore) -> None:
    """Copy changes until cancelled."""
    async for news in source.changes():
        if isinstance(news, desired.DesiredPod):
            wanted.put(news)
        else:
            wanted.replace(news)
