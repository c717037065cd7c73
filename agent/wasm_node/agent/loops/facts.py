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
        elif isinstance(news, observed.Ending):
            runtime.ends()
        elif isinstance(news, observed.Running | observed.Ended):
            _take(seen, news)
        else:
            grouped = _by_pod(news)
            # NB: at once: what is started from here on is not listed.
            for uid in seen:
                before = seen.get(uid)
                if before is not None and not before.forgotten:
                    now = clock.now()
                    seen.put(uid, adopt.whole(before, grouped.get(uid, ()), now=now))
            new = [uid for uid in grouped if seen.get(uid) is None]
            found = await asyncio.to_thread(lambda uids: {u: kept.load(u) for u in uids}, new)
            for uid, left in found.items():
                if seen.get(uid) is None:
                    seen.put(uid, left or observed.ObservedPod(started_at=clock.now()))
                for fact in grouped[uid]:
                    _take(seen, fact)
            seen.listed.set()
            runtime.here()


def _take(seen: pods.ObservedStore, fact: observed.Fact) -> None:
    uid = ids.PodUid(fact.id.pod_uid)
    seen.change(uid, fact.id.container, functools.partial(adopt.apply, fact=fact))


def _by_pod(facts: Sequence[observed.Fact]) -> Mapping[ids.PodUid, Sequence[observed.Fact]]:
    grouped: dict[ids.PodUid, list[observed.Fact]] = {}
    for fact in facts:
        grouped.setdefault(ids.PodUid(fact.id.pod_uid), []).append(fact)
    return grouped
