"""tcpSocket: passes once there is a connection, as pkg/probe/tcp does."""

import asyncio

from wasm_node.agent.model import probe
from wasm_node.agent.probes import dialing


async def knock(at: probe.Endpoint, timeout_s: float) -> probe.Outcome:
    """Connect and hang up."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await dialing.connect(at)
    except TimeoutError:
        return probe.Failed(f"dial tcp {dialing.shown(at)}: i/o timeout")
    except dialing.UnreachableError as error:
        return probe.Failed(str(error))
    writer.close()
    return probe.Passed()
