"""Images without a disk."""

from collections.abc import Callable, Collection, Sequence

from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import reference


class FakeImages:
    """
    Says of images what it was told, and forgets those that are to go.

    Attributes:
        kept: what there is, by root.
        pulled: roots and names that a pull wants just now.
        used: roots that were chosen as used, by the last choice.
        cannot: why nothing can be removed; empty: it can.
        looks: how often somebody has chosen.
    """

    def __init__(self, *kept: image.Kept) -> None:
        self.kept = {each.root: each for each in kept}
        self.pulled: set[str] = set()
        self.used: frozenset[Digest] = frozenset()
        self.cannot = ""
        self.looks = 0

    def names(self, texts: Collection[str]) -> frozenset[str]:
        """Return what can be read, in full, and digests."""
        found = set()
        for each in texts:
            try:
                read = reference.parse(each)
            except errors.BadInput:
                continue
            found.update({str(read), read.digest or str(read)})
        return frozenset(found)

    async def collect(
        self, choose: Callable[[Sequence[image.Kept]], image.Choice], *, rest_before: float
    ) -> image.Collected:
        """Forget what is chosen, and is not pulled."""
        self.looks += 1
        chosen = choose(list(self.kept.values()))
        if self.cannot:
            raise errors.Retryable(self.cannot, reason="ImageGCFailed")
        self.used = chosen.used
        gone = [
            each
            for each in chosen.gone
            if each in self.kept and not {each, *self.kept[each].names}.intersection(self.pulled)
        ]
        before = self._bytes()
        for each in gone:
            del self.kept[each]
        return image.Collected(frozenset(gone), before - self._bytes())

    def _bytes(self) -> int:
        parts = {part: size for each in self.kept.values() for part, size in each.parts.items()}
        return sum(parts.values())
