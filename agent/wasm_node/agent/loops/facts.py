"""
Facts from the runtime into the observed store; adoption is the first list.

With it comes what an agent before us has kept on disk, of pods too of which
nothing has ever run: one that it had told to go is not to be begun.

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
            adopting = not seen.listed.is_set()
            new = [uid for uid in grouped if seen.get(uid) is None]
            found = await _found(kept, new, adopting=adopting)
            for uid in {*new, *found}:
                if seen.get(uid) is None:
                    seen.put(uid, found.get(uid) or observed.ObservedPod(clock.now()))
                for fact in grouped.get(uid, ()):
                    _take(seen, fact)
            seen.listed.set()
            runtime.here()


async def _found(
    kept: checkpoint.Checkpoints, new: Sequence[ids.PodUid], *, adopting: bool
) -> Mapping[ids.PodUid, observed.ObservedPod]:
    if not new and not adopting:
        return {}  # NB: at once, as every start is refused until the list is taken in
    return await asyncio.to_thread(_kept, kept, new, adopting=adopting)


def _kept(
    kept: checkpoint.Checkpoints, listed: Sequence[ids.PodUid], *, adopting: bool
) -> Mapping[ids.PodUid, observed.ObservedPod]:
    """Read what was kept of listed pods; `adopting`: and of all there are."""
    uids = {*listed, *kept.uids()} if adopting else listed
    read = {uid: kept.load(uid) for uid in uids}
    return {uid: each for uid, each in read.items() if each is not None}


def _take(seen: pods.ObservedStore, fact: observed.Fact) -> None:
    uid = ids.PodUid(fact.id.pod_uid)
    seen.change(uid, fact.id.container, functools.partial(adopt.apply, fact=fact))


def _by_pod(facts: Sequence[observed.Fact]) -> Mapping[ids.PodUid, Sequence[observed.Fact]]:
    grouped: dict[ids.PodUid, list[observed.Fact]] = {}
    for fact in facts:
        grouped.setdefault(ids.PodUid(fact.id.pod_uid), []).append(fact)
    return grouped
