"""
The end of an agent, so that nobody who asks something of the node notices it.

The kubelet API is asked at the agent's own address, which a pod loses when it
ends. Whoever asks there meanwhile gets no refusal but silence, half a minute
long. So an agent that has an heir goes on serving, and does nothing else, until
the Node names the heir's address. Where one is due to come, it waits for that
first, and does all its work meanwhile.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from wasm_node.agent import errors, interfaces, statedir
from wasm_node.agent.loops import heartbeat

log = logging.getLogger(__name__)

TAKEN_OVER_WITHIN_S = 15.0
"""An heir waits for its certificate for ten seconds, once it is there."""
LAST_REQUESTS_S = 2.0
"""Who has read the old address is here by then."""
_LOOK_S = 0.1
_ANSWER_S = 5.0


class Leaving:
    """
    Whether this agent was told to end, and told again.

    Attributes:
        asked: set at the first signal.
        hurried: set at the second.
        attended: whether what runs ends by itself then; else it is cancelled.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self.attended = False

    def ask(self) -> None:
        """Take a signal."""
        (self.hurried if self.asked.is_set() else self.asked).set()

    async def unless_hurried(self, work: Coroutine[None, None, None]) -> None:
        """Do a last work, cut short by the second signal."""
        async with asyncio.TaskGroup() as group:
            either = [group.create_task(work), group.create_task(self.hurried.wait())]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            for each in either:
                each.cancel()


async def await_heir(lock: statedir.Lock, within_s: float, clock: interfaces.Clock) -> None:
    """
    Return once another agent stands by, or so many seconds later.

    A DaemonSet that surges makes another pod as soon as one is deleted, while
    that still runs (podsShouldBeOnNode of daemon_controller.go).
    """
    if within_s > 0:
        log.info("Waiting for the next agent to stand by, for %g s at most", within_s)
    until = clock.monotonic() + within_s
    while clock.monotonic() < until and not await asyncio.to_thread(lock.heir):
        await clock.sleep(_LOOK_S)


async def hand_over(
    lock: statedir.Lock, node: heartbeat.NodeObject, address: str, clock: interfaces.Clock
) -> None:
    """
    Let the heir have the node; return when nobody asks at our address any more.

    Without an heir, or with one at the same address, whose port ours would
    keep from it, that is at once.
    """
    heir = await asyncio.to_thread(lock.heir)
    if heir in {"", address}:
        return
    log.info("Serving on until the agent at %s has taken over", heir)
    lock.release()
    until = clock.monotonic() + TAKEN_OVER_WITHIN_S
    while clock.monotonic() < until:
        with contextlib.suppress(errors.NodeError, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                found = await node.get()
            if address not in _addresses(found):
                await clock.sleep(LAST_REQUESTS_S)
                return
        await clock.sleep(_LOOK_S)
    log.warning("The agent at %s has not taken over in %.0f s", heir, TAKEN_OVER_WITHIN_S)


def _addresses(node: Mapping[str, Any] | None) -> set[str]:
    listed = (node or {}).get("status", {}).get("addresses") or ()
    return {str(each.get("address", "")) for each in listed}
