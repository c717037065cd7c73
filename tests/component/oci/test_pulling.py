"""Pulling from a real registry: layouts, tags, digests, what is kept."""

import tarfile
from pathlib import Path

import oras.client
import pytest

from e2e.cluster import Registry
from tests.component.oci import publishing
from wasm_node.agent import errors
from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci.puller import RegistryPuller

MODULE, COMPONENT = publishing.MODULE, publishing.COMPONENT
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0" + bytes(40)

ARTIFACTS = {
    "a": publishing.artifact(MODULE),
    "a-component": publishing.artifact(COMPONENT),
    "b": publishing.image(
        [("application/vnd.wasm.content.layer.v1+wasm", MODULE)],
        config_type="application/vnd.wasm.config.v1+json",
    ),
    "m": publishing.image(
        [("application/octet-stream", MODULE)],
        config_type="application/vnd.oci.empty.v1+json",
        artifact_type="application/vnd.unknown.artifact.v1",
    ),
}


@pytest.mark.parametrize(
    ("name", "layout", "kind"),
    [
        ("a", "A (CNCF wasm artifact)", Kind.MODULE),
        ("a-component", "A (CNCF wasm artifact)", Kind.COMPONENT),
        ("b", "B (wasm-to-oci)", Kind.MODULE),
        ("m", "M (oras push)", Kind.MODULE),
    ],
)
async def test_artifacts(
    registry: Registry, tmp_path: Path, name: str, layout: str, kind: Kind
) -> None:
    """Layouts A, B and M give their one module, whatever it is."""
    pushed = ARTIFACTS[name]
    publishing.push(registry.address, f"layouts/{name}", "1", pushed)
    reference = f"{registry.address}/layouts/{name}:1"
    async with RegistryPuller(tmp_path) as puller:
        found = await puller.pull(reference)
        program = puller.program(found, (), ("x",))

    assert found.layout == layout
    assert found.image_id == f"{registry.address}/layouts/{name}@{pushed.digest}"
    assert found.size_bytes == 8
    assert program.kind is kind
    assert program.argv == (f"{name}.wasm", "x")
    assert publishing.digest(program.path.read_bytes()) == program.digest
    assert program.path.stat().st_mode & 0o777 == 0o444


async def test_pushed_by_oras(registry: Registry, tmp_path: Path) -> None:
    """What oras makes of a plain file is layout M, though it calls it a tar."""
    (tmp_path / "app.wasm").write_bytes(MODULE)
    oras.client.OrasClient(insecure=True).push(
        f"{registry.address}/layouts/oras:1",
        files=[str(tmp_path / "app.wasm")],
        disable_path_validation=True,
        quiet=True,
    )
    async with RegistryPuller(tmp_path / "images") as puller:
        found = await puller.pull(f"{registry.address}/layouts/oras:1")

    assert found.layout == "M (oras push)"
    assert found.module_digest == publishing.digest(MODULE)


async def test_tar_image(registry: Registry, tmp_path: Path) -> None:
    """Layout H is a tree in which the command is found, links followed."""
    pushed = publishing.tree(
        publishing.tar(("usr/lib/app.wasm", MODULE), ("etc/motd", b"hi")),
        publishing.tar(publishing.member("bin", tarfile.SYMTYPE, target="/usr/lib")),
        entrypoint=["app.wasm"],
        cmd=["--default"],
        env=["PATH=/bin", "HOME=/root"],
    )
    publishing.push(registry.address, "layouts/h", "1", pushed)
    async with RegistryPuller(tmp_path) as puller:
        found = await puller.pull(f"{registry.address}/layouts/h:1")
        program = puller.program(found, (), ())

    assert found.layout == "H (tar image)"
    assert found.env == (("PATH", "/bin"), ("HOME", "/root"))
    assert program.argv == ("app.wasm", "--default")
    assert found.tree is not None
    assert program.path == found.tree / "usr/lib/app.wasm"
    assert program.digest == publishing.digest(MODULE)
    assert (found.tree / "bin").readlink() == Path("usr/lib")


async def test_linux_image(registry: Registry, tmp_path: Path) -> None:
    """A Linux image is refused at its entrypoint, by what that is."""
    pushed = publishing.tree(
        publishing.tar(("bin/busybox", ELF), ("bin/sh", b"#!/bin/busybox sh\n")),
        cmd=["sh"],
        platform="linux/amd64",
    )
    publishing.push(registry.address, "linux", "1", pushed)
    async with RegistryPuller(tmp_path) as puller:
        found = await puller.pull(f"{registry.address}/linux:1")
        with pytest.raises(errors.BadInput, match=r"ELF x86-64.*not WebAssembly") as caught:
            puller.program(found, ("busybox", "ls"), ())
        with pytest.raises(errors.BadInput, match=r"/bin/sh is a script \(#!/bin/busybox sh\)"):
            puller.program(found, (), ())

    assert caught.value.reason == "NotWasm"


async def test_index(registry: Registry, tmp_path: Path) -> None:
    """Of an index the wasm entry is taken, and the index is the image's id."""
    linux = publishing.tree(publishing.tar(("app", ELF)), cmd=["/app"], platform="linux/amd64")
    wasm = publishing.tree(publishing.tar(("app", MODULE)), cmd=["/app"])
    for each in (linux, wasm):
        publishing.push(registry.address, "multi", "part", each)
    index = publishing.index(("linux/amd64", linux), ("wasip1/wasm", wasm))
    publishing.put_manifest(registry.address, "multi", "1", publishing.INDEX, index)
    async with RegistryPuller(tmp_path) as puller:
        found = await puller.pull(f"{registry.address}/multi:1")
        program = puller.program(found, (), ())

    assert program.digest == publishing.digest(MODULE)
    assert found.image_id == f"{registry.address}/multi@{publishing.digest(index)}"


async def test_tags_move(registry: Registry, tmp_path: Path) -> None:
    """A pull by tag sees a new push; a digest stays; local is the last pull."""
    name = f"{registry.address}/moving"
    first, second = publishing.artifact(MODULE), publishing.artifact(MODULE + b"\0\1\0")
    async with RegistryPuller(tmp_path) as puller:
        publishing.push(registry.address, "moving", "1", first)
        before = await puller.pull(f"{name}:1")
        publishing.push(registry.address, "moving", "1", second)
        kept = await puller.local(f"{name}:1")
        after = await puller.pull(f"{name}:1")
        pinned = await puller.pull(f"{name}:1@{first.digest}")

    assert kept == before
    assert after.image_id == f"{name}@{second.digest}"
    assert pinned.module == before.module


async def test_nothing_is_fetched_twice(registry: Registry, tmp_path: Path) -> None:
    """What is here is used, also by another process, and not asked for."""
    name = f"{registry.address}/kept:1"
    pushed = publishing.artifact(MODULE + b"\0\2\0\0")
    publishing.push(registry.address, "kept", "1", pushed)
    async with RegistryPuller(tmp_path) as puller:
        before = await puller.pull(name)
    for digest in pushed.blobs:
        registry.blob(digest).unlink()
    async with RegistryPuller(tmp_path) as puller:
        assert await puller.local(name) == before
        assert await puller.pull(name) == before


async def test_unknown_names(registry: Registry, tmp_path: Path) -> None:
    """A name or digest that is not there is NotFound, and says so."""
    async with RegistryPuller(tmp_path) as puller:
        for wanted in ("absent:1", f"absent@sha256:{'0' * 64}"):
            with pytest.raises(
                errors.NotFound, match=r"cannot pull .*: .* has no absent"
            ) as caught:
                await puller.pull(f"{registry.address}/{wanted}")

            assert caught.value.reason == "ErrImagePull"


async def test_damaged_registry(registry: Registry, tmp_path: Path) -> None:
    """A blob that decayed in the registry is refused; nothing of it stays."""
    wasm = MODULE + b"\0\3\0\0\0"
    publishing.push(registry.address, "damaged", "1", publishing.artifact(wasm))
    stored = registry.blob(publishing.digest(wasm))
    stored.write_bytes(wasm[:-1] + b"\1")
    async with RegistryPuller(tmp_path) as puller:
        with pytest.raises(errors.Retryable, match=r"sent bytes with the digest sha256:"):
            await puller.pull(f"{registry.address}/damaged:1")

    assert not (tmp_path / "blobs/sha256" / publishing.digest(wasm)[7:]).exists()
    assert list((tmp_path / "partial").iterdir()) == []


async def test_damaged_disk(registry: Registry, tmp_path: Path) -> None:
    """What decayed on this disk is not here any more, and is fetched anew."""
    wasm = MODULE + b"\0\4\0\0\0\0"
    publishing.push(registry.address, "decayed", "1", publishing.artifact(wasm))
    pushed = publishing.tree(publishing.tar(("app.wasm", wasm)), entrypoint=["/app.wasm"])
    publishing.push(registry.address, "decayed", "tree", pushed)
    async with RegistryPuller(tmp_path) as puller:
        module = (await puller.pull(f"{registry.address}/decayed:1")).module
        tree = (await puller.pull(f"{registry.address}/decayed:tree")).tree
    assert module is not None
    assert tree is not None
    for path in (module, tree / "app.wasm"):
        path.chmod(0o600)
        path.write_bytes(wasm[:-1] + b"\1")
    async with RegistryPuller(tmp_path) as puller:
        assert await puller.local(f"{registry.address}/decayed:1") is None
        await puller.pull(f"{registry.address}/decayed:1")
        assert await puller.local(f"{registry.address}/decayed:tree") is not None

    assert module.read_bytes() == wasm
    assert (tree / "app.wasm").read_bytes() == wasm


async def test_what_a_killed_process_left(tmp_path: Path) -> None:
    """Halves of a process that was killed are cleared at the next start."""
    (tmp_path / "partial" / "left" / "tree").mkdir(parents=True)
    (tmp_path / "partial" / "left" / "blob").write_bytes(b"half")
    async with RegistryPuller(tmp_path):
        assert list((tmp_path / "partial").iterdir()) == []
