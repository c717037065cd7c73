"""Removing images from a store on disk while others pull into it."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

import pytest
from aiohttp import web

from tests.component.oci import misbehaving, publishing
from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci.puller import RegistryPuller
from wasm_node.agent.plan import collecting as planning

FAR = 2.0**40
LONG_AGO = 1.0
TREE = publishing.tar(("app", publishing.MODULE))


def _module(number: int) -> bytes:
    return publishing.MODULE + bytes([0, 2, 1, number])  # a custom section


def _image(number: int) -> publishing.Image:
    """Return a tar image that has the first of its two layers from others."""
    own = publishing.tar((f"own{number}", _module(number)))
    return publishing.tree(TREE, own, cmd=["/app"])


class Bed:
    """A registry, a puller, and who uses what."""

    def __init__(
        self, registry: misbehaving.Misbehaving, puller: RegistryPuller, images: Path
    ) -> None:
        self.registry = registry
        self.puller = puller
        self.images = images
        self.used: list[Digest] = []

    def serve(self, name: str, pushed: publishing.Image) -> str:
        """Have the registry name an image; return how to ask for it."""
        self.registry.serve(name, "1", pushed)
        return f"{self.registry.address}/{name}:1"

    async def collect(
        self,
        *,
        rest_before: float = LONG_AGO,
        during: Callable[[], None] = lambda: None,
    ) -> frozenset[Digest]:
        """Remove all that is not used; return the roots that went."""

        def choose(found: Sequence[image.Kept]) -> image.Choice:
            during()
            gone = {each.root: "space" for each in found if each.root not in self.used}
            return image.Choice(frozenset(self.used), gone, 0)

        return (await self.puller.images.collect(choose, rest_before=rest_before)).gone

    def files(self) -> Collection[Path]:
        """Return the paths of all blobs, trees, names and marks."""
        places = ("blobs/sha256", "trees/sha256", "refs", "used", "partial")
        return sorted(each for place in places for each in (self.images / place).iterdir())

    def check(self, found: image.Image) -> None:
        """Fail if an image is not whole."""
        assert found.tree is not None
        program = self.puller.program(found, (), ())
        assert publishing.digest(program.path.read_bytes()) == program.digest
        assert len(list(found.tree.iterdir())) == 2


def _root(found: image.Image) -> Digest:
    return Digest(found.image_id.partition("@")[2])


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    """Give an empty store, and a registry."""
    async with misbehaving.running() as registry, RegistryPuller(tmp_path) as puller:
        yield Bed(registry, puller, tmp_path)


async def test_all_of_an_image_goes(bed: Bed) -> None:
    """No file is left of it, neither name nor mark; it can be pulled again."""
    name = bed.serve("app", _image(1))
    found = await bed.puller.pull(name)
    gone = await bed.collect()
    left = await asyncio.to_thread(bed.files)

    assert gone == {_root(found)}
    assert left == []
    assert await bed.puller.local(name) is None
    bed.check(await bed.puller.pull(name))


async def test_a_tree_goes_though_what_was_there_before_could_not(bed: Bed) -> None:
    """Where it is moved aside, nothing that is left over is in its way."""
    name = bed.serve("app", _image(1))
    found = await bed.puller.pull(name)
    assert found.tree is not None
    left = bed.images / "partial" / found.tree.name / "left"
    left.mkdir(parents=True)
    gone = await bed.collect()

    assert gone == {_root(found)}
    assert await asyncio.to_thread(bed.files) == [left.parent]


async def test_an_image_keeps_what_it_shares(bed: Bed) -> None:
    """Layers of both stay with the one that is used, which can be run."""
    one, two = (bed.serve(f"app{n}", _image(n)) for n in (1, 2))
    found, other = await bed.puller.pull(one), await bed.puller.pull(two)
    bed.used = [_root(other)]
    gone = await bed.collect()
    asked = len(bed.registry.asked)
    kept = await bed.puller.local(two)

    assert gone == {_root(found)}
    assert kept == other
    bed.check(kept)
    assert len(bed.registry.asked) == asked


async def test_what_a_tag_named_before_is_an_image_still(bed: Bed) -> None:
    """It stays while a pod is made of it, and goes after that."""
    name = bed.serve("app", _image(1))
    before = await bed.puller.pull(name)
    bed.serve("app", _image(2))
    after = await bed.puller.pull(name)
    bed.used = [_root(before), _root(after)]
    both = await bed.collect(rest_before=FAR)
    bed.check(before)
    bed.used = [_root(after)]
    gone = await bed.collect()
    bed.check(after)

    assert not both
    assert gone == {_root(before)}


async def test_a_pull_that_began_before_keeps_what_it_found(bed: Bed) -> None:
    """A layer that it need not fetch stays, though its image goes meanwhile."""
    old = await bed.puller.pull(bed.serve("old", _image(1)))
    new = _image(2)
    name = bed.serve("new", new)
    layer = list(new.blobs)[-1]
    began, may_end = asyncio.Event(), asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        began.set()
        await may_end.wait()
        return bed.registry.good(request.path.removeprefix("/v2/"))

    bed.registry.quirks[f"new/blobs/{layer}"] = late
    async with asyncio.TaskGroup() as group:
        pulling = group.create_task(bed.puller.pull(name))
        await began.wait()
        gone = await bed.collect(rest_before=FAR)
        may_end.set()

    assert gone == {_root(old)}
    bed.check(pulling.result())
    shared = publishing.digest(TREE)
    assert [path for path in bed.registry.paths() if path == f"new/blobs/{shared}"] == []


async def test_an_image_that_is_being_pulled_again_stays(bed: Bed) -> None:
    """Whole, though it was chosen: by what it is, and by its name."""
    pushed = _image(1)
    name = bed.serve("app", pushed)
    found = await bed.puller.pull(name)
    began, may_end = asyncio.Event(), asyncio.Event()

    async def late(request: web.Request) -> web.Response:
        began.set()
        await may_end.wait()
        return bed.registry.good(request.path.removeprefix("/v2/"))

    bed.registry.quirks["app/manifests/1"] = late
    async with asyncio.TaskGroup() as group:
        pulling = group.create_task(bed.puller.pull(name))
        await began.wait()
        gone = await bed.collect(rest_before=FAR)
        may_end.set()

    assert gone == frozenset()
    assert pulling.result() == found
    bed.check(found)


async def test_who_asks_for_what_goes_finds_nothing(bed: Bed) -> None:
    """Held up until it has gone, and never given half of it."""
    name = bed.serve("app", _image(1))
    await bed.puller.pull(name)
    looks: list[asyncio.Task[image.Image | None]] = []
    async with asyncio.TaskGroup() as group:

        def ask() -> None:
            looks.append(group.create_task(bed.puller.local(name)))

        gone = await bed.collect(during=ask)

    assert len(gone) == 1
    assert looks[0].result() is None


@pytest.mark.parametrize("which", ["index", "manifest"])
async def test_what_a_pod_names_by_digest_stays(bed: Bed, which: str) -> None:
    """It came by a tag; by either digest nothing has to be fetched again."""
    pushed = _image(1)
    name = bed.serve("app", pushed)
    listed = publishing.index(("wasip1/wasm", pushed))

    async def index(_: web.Request) -> web.Response:
        return web.Response(body=listed, content_type=publishing.INDEX)

    bed.registry.quirks["app/manifests/1"] = index
    root = _root(await bed.puller.pull(name))
    digest = root if which == "index" else Digest(pushed.digest)
    text = f"{bed.registry.address}/app@{digest}"

    def choose(found: Sequence[image.Kept]) -> image.Choice:
        nobody = planning.Uses(frozenset(), frozenset())
        used = planning.roots(found, bed.puller.images.names([text]), nobody)
        gone = {each.root: "space" for each in found if each.root not in used}
        return image.Choice(used, gone, 0)

    done = await bed.puller.images.collect(choose, rest_before=FAR)
    asked = len(bed.registry.asked)
    found = await bed.puller.local(text)

    assert root == publishing.digest(listed)
    assert done.gone == frozenset()
    assert found is not None
    bed.check(found)
    assert len(bed.registry.asked) == asked


async def test_who_pulls_a_name_that_goes_waits_until_it_has_gone(bed: Bed) -> None:
    """So that what the tag names by then is not removed with what it named."""
    name = bed.serve("app", _image(1))
    other = bed.serve("other", publishing.artifact(_module(2)))  # it shares nothing
    old = await bed.puller.pull(name)
    bed.serve("app", _image(3))
    gate = bed.images / "refs" / "gate.json"  # who reads it waits, in the middle of removing
    async with asyncio.TaskGroup() as group:
        collecting = group.create_task(bed.collect(during=lambda: os.mkfifo(gate)))
        opened = await _opened(gate)
        try:
            pulling = group.create_task(bed.puller.pull(name))
            await bed.puller.pull(other)  # by then the one before had asked too
            asked = bed.registry.paths().count("app/manifests/1")
        finally:
            gate.unlink()
            os.close(opened)
    found = await bed.puller.local(name)

    assert collecting.result() == {_root(old)}
    assert asked == 1  # by the pull before
    assert found == pulling.result() != old
    bed.check(found)


async def _opened(fifo: Path) -> int:
    """Return the end to write to, once somebody reads."""
    while True:
        with contextlib.suppress(OSError):  # ENOENT, ENXIO: nobody yet
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        await asyncio.sleep(0.001)


async def test_leftovers_go_when_they_are_old(bed: Bed) -> None:
    """What a pull that failed has fetched; what is young may be wanted yet."""
    pushed = _image(1)
    name = bed.serve("app", pushed)

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=404)

    bed.registry.quirks[f"app/blobs/{list(pushed.blobs)[-1]}"] = broken
    with pytest.raises(errors.NodeError):
        await bed.puller.pull(name)
    before = await asyncio.to_thread(bed.files)
    await bed.collect(rest_before=LONG_AGO)
    young = await asyncio.to_thread(bed.files)
    await bed.collect(rest_before=FAR)

    assert before
    assert young == before
    assert await asyncio.to_thread(bed.files) == []


async def test_leftovers_stay_while_a_used_image_cannot_be_read(bed: Bed) -> None:
    """Its manifest is gone: what it leads to looks like nobody's."""
    found = await bed.puller.pull(bed.serve("app", _image(1)))
    bed.used = [_root(found)]
    blob = bed.images / "blobs/sha256" / _root(found).removeprefix("sha256:")
    blob.unlink()
    await bed.collect(rest_before=FAR)

    bed.check(found)


async def test_what_is_no_digest_is_nobodys(bed: Bed, tmp_path: Path) -> None:
    """A name or mark that was tampered with leads to no file elsewhere."""
    outside = tmp_path / "victim"
    outside.write_text("stays")
    reference = '{"reference": "r/x:1", "digest": "sha256:../../victim"}'
    (bed.images / "refs" / "x.json").write_text(reference)
    (bed.images / "used" / "not-hex").touch()
    gone = await bed.collect(rest_before=FAR)

    assert gone == frozenset()
    assert outside.read_text() == "stays"


async def test_use_is_noted_on_disk(bed: Bed) -> None:
    """By a pull, by a look, and by a pod; so it outlives the agent."""
    name = bed.serve("app", _image(1))
    root = _root(await bed.puller.pull(name))
    mark = bed.images / "used" / root.removeprefix("sha256:")
    times = []
    for step in (bed.puller.pull, bed.puller.local):
        os.utime(mark, (1, 1))
        await step(name)
        times.append(mark.stat().st_mtime)
    os.utime(mark, (1, 1))
    bed.used = [root]
    await bed.collect()
    times.append(mark.stat().st_mtime)

    assert min(times) > 1


@pytest.mark.parametrize("mark", ["lost", "older"])
async def test_an_image_without_a_mark_counts_from_when_it_came(bed: Bed, mark: str) -> None:
    """A full disk may have had no room for one: it is not idle for ever."""
    root = _root(await bed.puller.pull(bed.serve("app", _image(1))))
    hexes = root.removeprefix("sha256:")
    file = bed.images / "used" / hexes
    if mark == "lost":
        file.unlink()
    else:
        os.utime(file, (LONG_AGO, LONG_AGO))
    seen: list[image.Kept] = []

    def choose(found: Sequence[image.Kept]) -> image.Choice:
        seen.extend(found)
        return image.Choice(frozenset(), {}, 0)

    await bed.puller.images.collect(choose, rest_before=LONG_AGO)
    came_at = (bed.images / "blobs/sha256" / hexes).stat().st_mtime

    assert [(each.root, each.came_at, each.used_at) for each in seen] == [(root, came_at, came_at)]


async def test_what_cannot_be_removed_is_told(bed: Bed) -> None:
    """With the path, as an error that may pass."""
    root = _root(await bed.puller.pull(bed.serve("app", _image(1))))
    mark = bed.images / "used" / root.removeprefix("sha256:")
    mark.unlink()
    (mark / "in the way").mkdir(parents=True)
    with pytest.raises(errors.Retryable, match=mark.name) as caught:
        await bed.collect()

    assert caught.value.reason == "ImageGCFailed"


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_is_given_what_goes(bed: Bed, seed: int) -> None:
    """Pods come and go, tags move, and a collector is always at work."""
    rng = random.Random(seed)  # noqa: S311  # no secrets: which pod comes next
    pushed = [_image(number) for number in range(5)]
    names = [bed.serve(f"app{number}", pushed[number]) for number in range(4)]
    removed = 0

    async def pod(number: int) -> None:
        for _ in range(25):
            name = rng.choice(names)
            found = None if rng.random() < 0.3 else await bed.puller.local(name)
            found = found or await bed.puller.pull(name)
            bed.used.append(_root(found))  # as the agent does: in the same breath
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
                await asyncio.to_thread(bed.check, found)
            bed.used.remove(_root(found))
            if number == 0:
                bed.serve(f"app{rng.randrange(4)}", rng.choice(pushed))

    async with asyncio.TaskGroup() as group:
        pods = [group.create_task(pod(number)) for number in range(4)]
        while not all(each.done() for each in pods):
            removed += len(await bed.collect(rest_before=FAR))

    await bed.collect(rest_before=FAR)
    assert removed > 5
    assert await asyncio.to_thread(bed.files) == []
