"""What a pod has on the disk: its logs here, all else where its guests run."""

import asyncio
import logging

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import desired
from wasm_node.agent.plan import evictions

log = logging.getLogger(__name__)


async def on_disk(
    pod: desired.DesiredPod, resources: interfaces.Resources, logs: interfaces.LogStore
) -> evictions.Candidate:
    """Weigh a pod; its volumes are None where the runtime cannot tell."""
    used = await asyncio.to_thread(logs.used, pod.ref)
    try:
        found = await resources.disk(pod.ref.uid)
    except errors.NodeError as error:  # whether the runtime is there is told elsewhere
        log.info("Cannot tell what pod %s has on the disk: %s", pod.ref, error)
        return evictions.Candidate(pod, evictions.on_disk(used), None)
    return evictions.Candidate(pod, evictions.on_disk(used, found.last_words), found.volumes)
