"""What every Images promises: the fake and the one over a store."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path

import pytest

from tests.component.oci import misbehaving, publishing
from tests.fakes.images import FakeImages
from wasm_node.agent import interfaces
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import reference
from wasm_node.agent.oci.puller import RegistryPuller

FAR = 2.0**40
"""Unix seconds, long after all that is here came."""

Made = tuple[interfaces.Images, Callable[[str, bytes], Awaitable[Digest]], str]
"""Images; what pulls an image of this name with a layer of its own, beside the
layer that all share, and returns its root; and the registry."""


@pytest.fixture(params=["fake", "real"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Made]:
    """Give Images, empty."""
    if request.param == "fake":
        fake = FakeImages()

        async def put(name: str, own: bytes) -> Digest:
            root = Digest(publishing.digest(own))
            names = frozenset({str(reference.parse(f"r.example/{name}:1"))})
            parts = {Digest("shared"): 8, root: len(own)}
            fake.kept[root] = image.Kept(root, names, parts, 1.0, 1.0)
            return root

        yield fake, put, "r.example"
        return
    async with misbehaving.running() as registry, RegistryPuller(tmp_path) as puller:

        async def pull(name: str, own: bytes) -> Digest:
            layers = [publishing.tar(("app", publishing.MODULE)), publishing.tar(("own", own))]
            pushed = publishing.tree(*layers, cmd=["/app"])
            registry.serve(name, "1", pushed)
            await puller.pull(f"{registry.address}/{name}:1")
            return Digest(pushed.digest)

        yield puller.images, pull, registry.address


async def _collect(
    images: interfaces.Images,
    *gone: Digest,
    used: Collection[Digest] = (),
    rest_before: float = FAR,
) -> tuple[dict[Digest, image.Kept], image.Collected]:
    """Collect these; return what there was before, and what came of it."""
    seen: dict[Digest, image.Kept] = {}

    def choose(found: Sequence[image.Kept]) -> image.Choice:
        seen.update({each.root: each for each in found})
        return image.Choice(frozenset(used), dict.fromkeys(gone, "space"), 0)

    done = await images.collect(choose, rest_before=rest_before)
    return seen, done


async def test_what_was_pulled_is_there(made: Made) -> None:
    """By root and by name in full, with what it takes of the disk."""
    images, pull, registry = made
    root = await pull("app", b"x" * 99)
    seen, done = await _collect(images)

    assert set(seen) == {root}
    assert seen[root].names == images.names([f"{registry}/app:1"])
    assert sum(seen[root].parts.values()) >= 99
    assert done.gone == frozenset()


async def test_what_is_chosen_goes(made: Made) -> None:
    """And is not there any more; what was freed is said."""
    images, pull, _ = made
    root, other = await pull("app", b"a" * 99), await pull("other", b"b" * 99)
    _, done = await _collect(images, root)
    after, again = await _collect(images, root)

    assert done.gone == {root}
    assert done.freed_bytes > 0
    assert set(after) == {other}
    assert again == image.Collected(frozenset(), 0)


async def test_shared_parts_stay(made: Made) -> None:
    """As long as an image that has them stays."""
    images, pull, _ = made
    root, other = await pull("app", b"a" * 99), await pull("other", b"b" * 99)
    before, _ = await _collect(images, root)
    after, _ = await _collect(images)

    shared = set(before[root].parts) & set(before[other].parts)
    assert shared
    assert after[other].parts == before[other].parts


async def test_the_choice_is_made_once(made: Made) -> None:
    """Also where there is nothing to choose from."""
    images, _, _ = made
    calls: list[int] = []

    def choose(found: Sequence[image.Kept]) -> image.Choice:
        calls.append(len(found))
        return image.Choice(frozenset(), {}, 0)

    await images.collect(choose, rest_before=FAR)

    assert calls == [0]


async def test_names_in_full(made: Made) -> None:
    """As a pull would read them; what is none is left out."""
    images, _, _ = made

    assert images.names(["app", "app:latest", "Not A Name", "r:5/x:1"]) == {
        "docker.io/library/app:latest",
        "r:5/x:1",
    }


async def test_a_digest_is_a_name_whatever_stands_before_it(made: Made) -> None:
    """It names what was pulled by a tag: a pull would find it here."""
    images, pull, registry = made
    root = await pull("app", b"x" * 99)
    seen, _ = await _collect(images)
    names = images.names([f"{registry}/app@{root}", f"r:5/other:2@{root}"])

    assert names == {f"{registry}/app@{root}", f"r:5/other:2@{root}", root}
    assert names & set(seen) == {root}
