"""`pack` and `inspect` against a real registry, as a user calls them."""

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import Registry
from tests.component.oci import publishing
from tests.wasm import guests
from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.oci import packing
from wasm_node.agent.oci.puller import RegistryPuller
from wasm_node.cli import main

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is inspected away from the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(("guest", "os"), [("exit", "wasip1"), ("component-hello", "wasip2")])
def test_pack_then_inspect(registry: Registry, capsys: Output, guest: str, os: str) -> None:
    """What was pushed is found under the name printed, and can run."""
    name = f"{registry.address}/packed/{guest}:1"

    assert main.main(["pack", str(guests.path(guest)), "--push", name]) == 0
    pushed, hint = capsys.readouterr().out.splitlines()
    assert hint == f"look at it: wasm-node inspect {name}"

    assert main.main(["inspect", name]) == 0
    shown = capsys.readouterr().out
    assert f"id          {pushed.replace(':1@', '@')}" in shown
    assert "layout      A (CNCF wasm artifact)" in shown
    assert "can run     yes" in shown
    manifest = json.loads(registry.blob(pushed.partition("@")[2]).read_bytes())
    config = json.loads(registry.blob(manifest["config"]["digest"]).read_bytes())
    assert (config["architecture"], config["os"]) == ("wasm", os)
    assert config["layerDigests"] == [publishing.digest(guests.path(guest).read_bytes())]


def test_pack_is_pulled_whole(registry: Registry, tmp_path: Path) -> None:
    """A packed module comes back byte by byte, each time by one digest."""
    file = guests.path("exit")
    name = f"{registry.address}/packed/whole:1"
    codes = {main.main(["pack", str(file), "--push", name]) for _ in range(2)}

    async def pull() -> image.Image:
        async with RegistryPuller(tmp_path / "images") as puller:
            return await puller.pull(name)

    found = asyncio.run(pull())

    assert codes == {0}
    assert found.module is not None
    assert found.module.read_bytes() == file.read_bytes()
    assert found.image_id.endswith(packing.pack(file.read_bytes(), file.name).digest)


def test_save(tmp_path: Path, capsys: Output) -> None:
    """A saved artifact is an OCI image layout whose digests hold."""
    out = tmp_path / "out.tar"

    assert main.main(["pack", str(guests.path("exit")), "--save", str(out)]) == 0
    digest = capsys.readouterr().out.splitlines()[0].rpartition("@")[2]
    with tarfile.open(out) as tar:
        files = {each.name: _content(tar, each) for each in tar}
    index: dict[str, Any] = json.loads(files["index.json"])
    assert index["manifests"][0]["digest"] == digest
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert publishing.digest(content) == f"sha256:{name.rpartition('/')[2]}"
    assert len(files) == 5


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_component_names_its_imports() -> None:
    """A component's config lists what it needs, readable before a pull."""
    packed = packing.pack(guests.path("component-hello").read_bytes(), "x.wasm")
    component = json.loads(packed.config)["component"]

    assert "wasi:cli/stdout@0.2.0" in component["imports"]
    assert any(each.startswith("wasi:cli/run@0.2.") for each in component["exports"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"(module)", "wasm-tools parse app.wat -o app.wasm"),
        (b"#!/bin/sh\n", "it is a script (#!/bin/sh), not WebAssembly"),
    ],
)
def test_what_is_not_packed(content: bytes, says: str) -> None:
    """Text and strangers are refused, with what to do."""
    with pytest.raises(errors.BadInput) as caught:
        packing.pack(content, "app.wat")

    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pack", "/nowhere.wasm", "--save", "x"], "cannot open /nowhere.wasm: No such file"),
        (["pack", "WASM", "--push", "127.0.0.1:1/x:1"], "cannot push 127.0.0.1:1/x:1: "),
        (["pack", "WASM", "--push", "UP"], "cannot use image name 'UP'"),
        (["pack", "WASM", "--push", f"127.0.0.1:1/x@sha256:{'0' * 64}"], "name a tag"),
        (["inspect", "./nowhere.wasm"], "cannot inspect nowhere.wasm: no such file"),
        (["inspect", "127.0.0.1:1/x:1"], "cannot pull 127.0.0.1:1/x:1: 127.0.0.1:1 cannot be"),
    ],
)
def test_failures(capsys: Output, arguments: list[str], says: str) -> None:
    """What fails says so on stderr, with exit code 1."""
    file = str(guests.path("exit"))

    assert main.main([file if each == "WASM" else each for each in arguments]) == 1
    assert says in capsys.readouterr().err


def test_inspect_files(tmp_path: Path, capsys: Output) -> None:
    """A file is described as an image would be; a stranger cannot run."""
    (tmp_path / "x.wasm").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0")

    assert main.main(["inspect", str(tmp_path / "x.wasm")]) == 1
    assert "can run     no: it is a Linux program (ELF x86-64)" in capsys.readouterr().out
    assert main.main(["inspect", str(guests.path("missing"))]) == 1
    assert "can run     no: it imports " in capsys.readouterr().out
    assert main.main(["inspect", str(guests.path("exit"))]) == 0
    assert "imports     wasi_snapshot_preview1 " in capsys.readouterr().out


def test_inspect_a_linux_image(registry: Registry, capsys: Output) -> None:
    """A Linux image is described, and why it cannot run."""
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0"
    pushed = publishing.tree(
        publishing.tar(("bin/sh", elf)), entrypoint=["/bin/sh"], cmd=["-c"], platform="linux/amd64"
    )
    publishing.push(registry.address, "inspected/linux", "1", pushed)

    assert main.main(["inspect", f"{registry.address}/inspected/linux:1"]) == 1
    shown = capsys.readouterr().out
    assert "layout      H (tar image)" in shown
    assert "entrypoint  /bin/sh" in shown
    assert "/bin/sh is a Linux program (ELF x86-64), not WebAssembly" in shown
