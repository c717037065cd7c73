"""What every Puller promises: the fake and the one over registries."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.component.oci import misbehaving, publishing
from tests.fakes.puller import FakePuller
from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci.puller import RegistryPuller

Push = Callable[[bytes], None]
"""Have the registry name this module by the reference."""

Made = tuple[interfaces.Puller, str, Push]

FIRST = publishing.MODULE
SECOND = publishing.MODULE + b"\0\1\0"


@pytest.fixture(params=["fake", "real"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Made]:
    """Give a puller, a reference that it knows, and how to push to it."""
    if request.param == "fake":
        fake = FakePuller({})

        def put(wasm: bytes) -> None:
            fake.images["example.com/app:1"] = _image(wasm)

        put(FIRST)
        yield fake, "example.com/app:1", put
        return
    async with misbehaving.running() as registry, RegistryPuller(tmp_path) as real:

        def push(wasm: bytes) -> None:
            registry.serve("app", "1", publishing.artifact(wasm))

        push(FIRST)
        yield real, f"{registry.address}/app:1", push


def _image(wasm: bytes) -> image.Image:
    digest = publishing.digest(wasm)
    return image.Image(
        reference="example.com/app:1",
        image_id=f"example.com/app@{digest}",
        layout="A (CNCF wasm artifact)",
        size_bytes=len(wasm),
        module=Path("/images") / digest,
        module_digest=Digest(digest),
        tree=None,
    )


async def test_what_was_pulled_is_local(made: Made) -> None:
    """Nothing is local before a pull; after it, the same image is."""
    puller, name, _ = made

    assert await puller.local(name) is None
    found = await puller.pull(name)
    assert await puller.local(name) == found
    assert found.reference == name


async def test_a_pull_sees_the_registry_as_it_is_now(made: Made) -> None:
    """After a push, `local` is the old image until the next pull."""
    puller, name, push = made
    before = await puller.pull(name)
    push(SECOND)

    assert await puller.local(name) == before
    after = await puller.pull(name)
    assert after.module_digest == publishing.digest(SECOND)
    assert after.image_id != before.image_id


async def test_progress_ends_at_the_whole(made: Made) -> None:
    """The last that progress hears is all of so many bytes."""
    puller, name, _ = made
    heard: list[tuple[int, int | None]] = []
    found = await puller.pull(name, progress=lambda done, total: heard.append((done, total)))

    assert heard[-1] == (found.size_bytes, found.size_bytes)


async def test_names_that_are_none(made: Made) -> None:
    """A malformed name is the user's mistake, at once."""
    puller, _, _ = made
    for call in (puller.pull, puller.local):
        with pytest.raises(errors.BadInput) as caught:
            await call("team/App:1")

        assert caught.value.reason == "InvalidImageName"


async def test_names_that_nobody_has(made: Made) -> None:
    """What the registry does not have is NotFound, and not local."""
    puller, name, _ = made
    with pytest.raises(errors.NotFound, match="cannot pull ") as caught:
        await puller.pull(f"{name}-absent")

    assert caught.value.reason == "ErrImagePull"
    assert await puller.local(f"{name}-absent") is None


async def test_program_of_an_artifact(made: Made) -> None:
    """`args` follow a name of the puller's choice; `command` replaces it."""
    puller, name, _ = made
    found = await puller.pull(name)
    plain = puller.program(found, (), ("x", "y"))
    named = puller.program(found, ("tool", "-v"), ("x",))

    assert plain.argv[1:] == ("x", "y")
    assert plain.argv[0]
    assert named.argv == ("tool", "-v", "x")
    assert (plain.path, plain.digest) == (found.module, found.module_digest)
    assert plain.kind is image.Kind.MODULE
