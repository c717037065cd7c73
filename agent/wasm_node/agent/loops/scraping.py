"""
What workers that serve HTTP have counted, asked when somebody wants to know.

Nobody is asked in between: an idle worker is not woken for figures that nobody
reads. One that does not tell is left out this time.
"""

import asyncio
import logging

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import ids, traffic
from wasm_node.agent.plan import order
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

log = logging.getLogger(__name__)

_PARALLEL = 32


async def scrape(
    wanted: pods.DesiredStore, seen: pods.ObservedStore, workers: interfaces.HttpWorkers
) -> list[traffic.Told]:
    """Ask the workers of all containers that run and have ports."""
    slots = asyncio.Semaphore(_PARALLEL)
    found: list[traffic.Told] = []

    async def ask(pod: ids.PodRef, attempt: records.AttemptId) -> None:
        try:
            async with slots:
                counted = await workers.traffic(attempt)
        except errors.NodeError as error:
            log.warning("%s", error)
        else:
            if counted is not None:
                found.append(traffic.Told(pod, attempt.container, counted))

    async with asyncio.TaskGroup() as group:
        for pod in wanted:
            known = seen.get(pod.ref.uid)
            for each, now in order.running(pod, known) if known else ():
                if each.tcp_ports():
                    group.create_task(ask(pod.ref, now.id))
    return found
