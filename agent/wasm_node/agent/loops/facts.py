"""
Facts from the runtime into the observed store; adoption is the first list.

A full list also tells what is *not* there: an attempt that we took to be
running and that the runtime does not know has ended without a witness.
"""

import collections
from collections.abc import Sequence

from wasm_node.agent import interfaces
from wasm_node.agent.model import ids, observed
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import checkpoint, pods


async def follow(
    containers: interfaces.Containers,
    seen: pods.ObservedStore,
    kept: checkpoint.Checkpoints,
    clock: interfaces.Clock,
) -> None:
    """Take in facts until cancelled."""
    async for news in containers.facts():
        if isinstance(news, observed.Running | observed.Ended):
            _take(news, seen)
        else:
            _adopt(news, seen, kept, clock.now())
            seen.listed.set()


def _take(fact: observed.Fact, seen: pods.ObservedStore) -> None:
    uid = ids.PodUid(fact.id.pod_uid)
    seen.change(uid, fact.id.container, lambda before: adopt.apply(before, fact))


def _adopt(
    facts: Sequence[observed.Fact],
    seen: pods.ObservedStore,
    kept: checkpoint.Checkpoints,
    now: float,
) -> None:
    grouped: dict[ids.PodUid, list[observed.Fact]] = collections.defaultdict(list)
    for fact in facts:
        grouped[ids.PodUid(fact.id.pod_uid)].append(fact)
    for uid in set(seen) | set(grouped):
        before = seen.get(uid) or kept.load(uid) or observed.ObservedPod(started_at=now)
        if not before.forgotten:
            seen.put(uid, adopt.whole(before, grouped[uid], now=now))
