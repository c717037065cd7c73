"""Commands of containers that run, found by what lies on the disk alone."""

from pathlib import Path

import pytest

from tests.component.oci import misbehaving, publishing
from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import image
from wasm_node.agent.oci.lookup import DiskPrograms
from wasm_node.agent.oci.puller import RegistryPuller
from wasm_node.protocol import layout, records

MODULE, COMPONENT = publishing.MODULE, publishing.COMPONENT
IMAGES = {
    "artifact": publishing.artifact(MODULE),
    "tree": publishing.tree(
        publishing.tar(
            ("app/main.wasm", MODULE),
            ("app/check.wasm", COMPONENT),
            ("tools/check", COMPONENT),
            ("bin/sh", b"#!/bin/nothing"),
        ),
        entrypoint=["./main.wasm"],
        env=["PATH=/tools"],
        working_dir="/app",
    ),
}


class Bed:
    """Attempts of both kinds of image, as an agent leaves them on the disk."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.images = state / "images"

    async def run(self, name: str, found: image.Image, program: image.Program) -> None:
        """Write down what an attempt of a pod of that name runs."""
        attempt = records.AttemptId(name, "main", 0)
        tree = records.Mount(str(found.tree), "/", read_only=True)
        spec = records.ContainerSpec(
            id=attempt,
            pod_namespace="default",
            pod_name=name,
            module_path=str(program.path),
            module_digest=program.digest,
            argv=program.argv,
            env=(),
            mounts=(records.Mount("/volume", "/", read_only=False),)  # no image, but at its place
            + ((tree,) if found.tree else ()),
            log_path="/l",
            memory_limit_bytes=None,
            cpu_limit_millis=None,
        )
        directory = layout.attempt(self.state, attempt)
        directory.mkdir(parents=True)
        (directory / layout.SPEC).write_bytes(spec.to_json())

    @property
    def programs(self) -> interfaces.Programs:
        """Somebody who has only the disk."""
        return DiskPrograms(self.state, self.images)

    async def find(self, name: str, *command: str) -> image.Command:
        """Find a command in an attempt of that pod."""
        return await self.programs.find(records.AttemptId(name, "main", 0), command)


@pytest.fixture
async def bed(tmp_path: Path) -> Bed:
    """Give attempts whose registry is gone."""
    made = Bed(tmp_path)
    async with misbehaving.running() as registry, RegistryPuller(made.images) as puller:
        for name, pushed in IMAGES.items():
            registry.serve(name, "1", pushed)
            found = await puller.pull(f"{registry.address}/{name}:1")
            await made.run(name, found, puller.program(found, (), ()))
    return made


@pytest.mark.parametrize(
    ("command", "file", "kind"),
    [
        ("check", "tools/check", image.Kind.COMPONENT),
        ("./check.wasm", "app/check.wasm", image.Kind.COMPONENT),
        ("/app/main.wasm", "app/main.wasm", image.Kind.MODULE),
    ],
)
async def test_in_a_tree(bed: Bed, command: str, file: str, kind: image.Kind) -> None:
    """As a container's: by the image's PATH, or from its working directory."""
    found = await bed.find("tree", command, "-v")

    assert str(found.program.path).endswith(f"/{file}")
    assert found.program.digest == publishing.digest(found.program.path.read_bytes())
    assert (found.program.kind, found.program.argv) == (kind, (command, "-v"))
    assert found.export == ""


async def test_an_export_of_a_program(bed: Bed) -> None:
    """The program is looked up without it; the command stays as it is."""
    found = await bed.find("tree", "check#ns:pkg/face@1.0.0#ready", "-v")

    assert found.program.path.name == "check"
    assert found.program.argv == ("check#ns:pkg/face@1.0.0#ready", "-v")
    assert found.export == "ns:pkg/face@1.0.0#ready"


async def test_an_export_of_its_own_program(bed: Bed) -> None:
    """Whatever that is called, and wherever it lies."""
    found = await bed.find("tree", "#ready")

    assert found.program.path.name == "main.wasm"
    assert (found.program.digest, found.export) == (publishing.digest(MODULE), "ready")


@pytest.mark.parametrize(
    ("command", "export"), [("check", ""), ("any#ready", "ready"), ("#ready", "ready")]
)
async def test_where_the_image_is_one_module(bed: Bed, command: str, export: str) -> None:
    """There is nothing to look up: it is that one, by any name."""
    found = await bed.find("artifact", command, "-v")

    assert found.program.digest == publishing.digest(MODULE)
    assert (found.program.argv, found.export) == ((command, "-v"), export)
    assert found.program.kind is image.Kind.MODULE


@pytest.mark.parametrize(
    ("command", "reason", "says"),
    [
        ("nosuch", "CreateContainerError", "there is no 'nosuch' in it; its wasm files are /app/"),
        ("nosuch#ready", "CreateContainerError", "run nosuch in container main: there is no"),
        ("/bin/sh", "NotWasm", "/bin/sh is a script"),
        ("", "CreateContainerError", "write PROGRAM, PROGRAM#EXPORT, or #EXPORT"),
        ("check#", "CreateContainerError", "write PROGRAM, PROGRAM#EXPORT, or #EXPORT"),
    ],
)
async def test_what_is_not_there(bed: Bed, command: str, reason: str, says: str) -> None:
    """A person is told what there is instead."""
    with pytest.raises(errors.BadInput, match=r"^cannot run ") as told:
        await bed.find("tree", command)

    assert told.value.reason == reason
    assert says in str(told.value)


async def test_an_attempt_that_nobody_knows(bed: Bed) -> None:
    """Its records are gone, or there never were any."""
    with pytest.raises(errors.NotFound) as told:
        await bed.find("nobody", "check")

    assert told.value.reason == "NotRunning"


async def test_an_image_that_has_decayed(bed: Bed) -> None:
    """It is told, and may be whole again after the next pull."""
    for each in (bed.images / "trees").rglob("*.json"):
        each.chmod(0o644)
        each.write_text("{")

    with pytest.raises(errors.Retryable, match="cannot look check up") as told:
        await bed.find("tree", "check")

    assert told.value.reason == "ImageInspectError"
