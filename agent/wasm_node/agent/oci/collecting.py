"""
Removing images: the Images of a store that a puller fills.

An image is what its index or manifest leads to: documents, layers, the tree.
What no image leads to is left over: of pulls that came to nothing, of tags
that have moved on after their image went. It goes with the next collection.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence

from wasm_node.agent import errors
from wasm_node.agent.asynckit import threads
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import documents, holds, layouts, reference, store


@dataclasses.dataclass(frozen=True)
class _Reach:
    """What an image leads to; not `whole`: a document of it is missing."""

    digests: frozenset[Digest]
    whole: bool


class StoredImages:
    """See `interfaces.Images`; `taken` is what pulls want meanwhile."""

    def __init__(self, kept: store.Store, taken: holds.Holds) -> None:
        self._store = kept
        self._taken = taken
        self._reaches: dict[Digest, _Reach] = {}
        self._alone = asyncio.Lock()

    def names(self, texts: Collection[str]) -> frozenset[str]:
        """See `interfaces.Images`."""
        return frozenset(_names(texts))

    async def collect(
        self, choose: Callable[[Sequence[image.Kept]], image.Choice], *, rest_before: float
    ) -> image.Collected:
        """See `interfaces.Images`."""
        try:
            async with self._alone:
                return await self._collect(choose, rest_before)
        except OSError as error:
            raise errors.Retryable(
                f"cannot remove images: {error.strerror or error}: {error.filename}",
                reason="ImageGCFailed",
            ) from error

    async def _collect(
        self, choose: Callable[[Sequence[image.Kept]], image.Choice], rest_before: float
    ) -> image.Collected:
        with self._taken.watch() as wanted:
            found = await threads.finish(self._listed)
            old = await threads.finish(self._store.before, rest_before)
            # NB: no await between what is chosen and its being held.
            chosen = choose([each for each, _ in found])
            gone, parts = _going(found, chosen, old, wanted)
            # Names too: they are removed by what they were read to name.
            names = {name for each, _ in found if each.root in gone for name in each.names}
            with self._taken.removing(gone | parts | names):
                freed = await threads.finish(self._remove, chosen.used, gone, parts)
        for each in gone:
            self._reaches.pop(each, None)
        return image.Collected(gone, freed)

    def _listed(self) -> list[tuple[image.Kept, _Reach]]:
        found = []
        for root, about in self._store.roots().items():
            reach = self._reach(root)
            sizes = {each: self._store.size(each) for each in reach.digests}
            parts = {each: size for each, size in sizes.items() if size is not None}
            kept = image.Kept(root, about.names, parts, about.came_at, about.used_at)
            found.append((kept, reach))
        return found

    def _remove(
        self, used: Collection[Digest], gone: Collection[Digest], parts: Collection[Digest]
    ) -> int:
        freed = sum(self._store.size(each) or 0 for each in parts)
        self._store.remove(gone, parts)
        for each in used:
            self._store.use(each)
        return freed

    def _reach(self, root: Digest) -> _Reach:
        if root not in self._reaches:
            found = {root}
            whole = all(self._follow(root, found))
            if not whole:
                return _Reach(frozenset(found), whole)
            self._reaches[root] = _Reach(frozenset(found), whole)
        return self._reaches[root]

    def _follow(self, root: Digest, found: set[Digest]) -> Iterator[bool]:
        """Add what a root leads to, and say of each document if it is here."""
        try:
            document = self._document(root)
            yield document is not None
            if isinstance(document, documents.Index):
                chosen = layouts.choose(document).digest
                found.add(chosen)
                document = self._document(chosen)
                yield document is not None
            if isinstance(document, documents.Manifest):
                plan = layouts.plan(document)
                found.update(each.digest for each in plan.layers)
                if isinstance(plan, layouts.TreePlan):
                    found.add(plan.config.digest)
        except documents.UnusableError:
            return  # nothing of it is ever run

    def _document(self, digest: Digest) -> documents.Document | None:
        content = self._store.read(digest, documents.MANIFEST_MOST_BYTES)
        return None if content is None else documents.parse(content)


def _names(texts: Collection[str]) -> Iterator[str]:
    for each in texts:
        try:
            found = reference.parse(each)
        except errors.BadInput:  # a name that is none is nobody's
            continue
        yield str(found)
        if found.digest is not None:
            yield found.digest


def _going(
    found: Sequence[tuple[image.Kept, _Reach]],
    chosen: image.Choice,
    old: Collection[Digest],
    wanted: Collection[str],
) -> tuple[frozenset[Digest], frozenset[Digest]]:
    """Return which images go, and which digests; none that is wanted."""
    gone = {
        each.root
        for each, _ in found
        if each.root in chosen.gone and not {each.root, *each.names}.intersection(wanted)
    }
    staying = [reach for each, reach in found if each.root not in gone]
    kept = {digest for each in staying for digest in each.digests}
    parts = {digest for each, reach in found if each.root in gone for digest in reach.digests}
    if all(each.whole for each in staying):  # else what is left over may be theirs
        parts.update(old)
    return frozenset(gone), frozenset(parts - kept - set(wanted))
