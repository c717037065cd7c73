"""
Facts from the runtime into the observed store; adoption is the first list.

A full list also tells what is *not* there: an attempt that we took to be
running and that the runtime does not know has ended without a witness.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence

from wasm_node.agent import interfaces
from wasm_node.agent.loops import presence
from wasm_node.agent.model import ids, observed
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import checkpoint, pods


async def follow(
    containers: interfaces.Containers,
    seen: pods.ObservedStore,
    kept: checkpoint.Checkpoints,
    clock: interfaces.Clock,
    runtime: presence.Presence,
) -> None:
    """Take in facts until cancelled."""
    async for news in containers.facts():
        if isinstance(news, observed.Away):
            runtime.away(news.why)
        elif isinstance(news, observed.Running | observed.Ended):
            uid = ids.PodUid(news.id.pod_uid)
            seen.change(uid, news.id.container, functools.partial(adopt.apply, fact=news))
        else:
            grouped = _by_pod(news)
            new = [uid for uid in grouped if seen.get(uid) is None]
            found = await asyncio.to_thread(lambda uids: {u: kept.load(u) for u in uids}, new)
            for uid in set(seen) | set(grouped):
                now = clock.now()
                before = seen.get(uid) or found.get(uid) or observed.ObservedPod(started_at=now)
                if not before.forgotten:
                    seen.put(uid, adopt.whole(before, grouped.get(uid, ()), now=now))
            seen.listed.set()
            runtime.here()


def _by_pod(
    facts: Sequence[observed.Fact],
) -> Mapping[ids.PodUid, Sequence[observed.Fact]]:
    grouped: dict[ids.PodUid, list[observed.Fact]] = {}
    for fact in facts:
        grouped.setdefault(ids.PodUid(fact.id.pod_uid), []).append(fact)
    return grouped
