"""
Which images are removed, and whose they are.

The rules are the kubelet's: image_gc_manager.go (GarbageCollect, freeSpace,
freeOldImages, DeleteUnusedImages) in pkg/kubelet/images. Two things differ. An
image counts for what would really come back: what another one that stays has
as well is not freed. And whatever pods that go on name or were made of is used,
begun or not; what only pods that are over were made of is not. (A kubelet asks
which containers lie there, and removes the dead ones when the disk is full.)
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

from wasm_node.agent.model import actions, collection, desired, image, observed
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.plan import evictions
from wasm_node.protocol import messages

AGE = "age"
SPACE = "space"
"""Why an image goes: the label of kubelet_image_garbage_collected_total."""

EVERYTHING = math.inf
"""More bytes than any disk has."""


@dataclasses.dataclass(frozen=True)
class Uses:
    """
    The images that pods of this node use.

    Attributes:
        texts: as manifests name them.
        roots: digests of what they are, or are about to be, made of.
    """

    texts: frozenset[str]
    roots: frozenset[Digest]


def uses(
    pods: Iterable[tuple[desired.DesiredPod | None, observed.ObservedPod | None]],
    fetched: Iterable[str],
) -> Uses:
    """
    Return what pods use, each as it is wanted and as it is known.

    One that is over is never started again, and neither its logs nor its
    status need an image. `fetched`: ids of images that are in hand.
    """
    texts, found = set[str](), set(fetched)
    for wanted, seen in pods:
        if wanted and seen and evictions.is_over(wanted, seen):
            continue
        texts |= {each.image for each in wanted.all_containers} if wanted else set()
        for known in seen.containers.values() if seen else ():
            found |= {made.image_id for made in known.made_of.values()}
            found |= {known.image.image_id} if known.image else set()
    return Uses(frozenset(texts), frozenset(map(_root, found)))


def _root(image_id: str) -> Digest:
    return Digest(image_id.rpartition("@")[2])


def roots(images: Iterable[image.Kept], names: frozenset[str], by: Uses) -> frozenset[Digest]:
    """
    Return the roots of those in use.

    `names`: of the texts, in full, and the digests among them. A digest may be
    that of a manifest which an index that is here leads to.
    """
    used = names | by.roots
    return frozenset(x.root for x in images if not used.isdisjoint({x.root, *x.names, *x.parts}))


def to_free(rules: collection.Rules, disk: messages.Level) -> int:
    """Return how many bytes are to be freed, with the disk as full as it is."""
    if rules.high_percent == collection.ALL or not disk.capacity:
        return 0
    if in_use(disk) < rules.high_percent:
        return 0
    due = disk.capacity * (collection.ALL - rules.low_percent) // collection.ALL
    return max(0, due - disk.available)


def in_use(disk: messages.Level) -> int:
    """Return the percentage of a disk that is in use, a part as one."""
    return collection.ALL - disk.available * collection.ALL // disk.capacity


def choose(
    rules: collection.Rules,
    images: Sequence[image.Kept],
    used: frozenset[Digest],
    wanted_bytes: float,
    now: float,
) -> image.Choice:
    """
    Choose what goes so that so much comes back, if there is as much.

    Those first that were not used for longest, and none that is `used`. One
    that has been idle for too long goes in any case; it is one of the first.
    """
    holders = collections.Counter(part for each in images for part in each.parts)
    gone: dict[Digest, str] = {}
    freed = 0
    for each in sorted(images, key=lambda x: (x.used_at, x.came_at)):
        too_idle = 0 < rules.most_idle_s < now - each.used_at
        old_enough = now - each.came_at >= rules.least_age_s
        if each.root in used or not (too_idle or (old_enough and freed < wanted_bytes)):
            continue
        gone[each.root] = AGE if too_idle else SPACE
        holders.subtract(each.parts.keys())
        freed += sum(size for part, size in each.parts.items() if not holders[part])
    return image.Choice(used, gone, freed)


def too_little(disk: messages.Level, wanted_bytes: int, freed_bytes: int) -> actions.Event | None:
    """Return what is to be told of a collection that did not free enough."""
    if freed_bytes >= wanted_bytes:
        return None
    said = (
        f"{in_use(disk)}% of the disk is in use: {wanted_bytes} bytes had to be freed, and"
        f" removing unused images freed {freed_bytes};"
        " look for large logs, volumes or files of others, or make the disk larger"
    )
    return actions.Event("FreeDiskSpaceFailed", said, warning=True)
