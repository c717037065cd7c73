"""What every Programs promises: the fake and the one that reads the disk."""

from pathlib import Path

import pytest

from tests.component.oci import misbehaving, publishing
from tests.fakes.commands import FakePrograms
from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import ids, image
from wasm_node.agent.oci.lookup import DiskPrograms
from wasm_node.agent.oci.puller import RegistryPuller
from wasm_node.protocol import layout, records

ATTEMPT = records.AttemptId("u", "main", 0)
IMAGE = publishing.tree(
    publishing.tar(("bin/main", publishing.MODULE), ("bin/check", publishing.COMPONENT)),
    entrypoint=["main"],
)


@pytest.fixture(params=["fake", "real"])
async def programs(request: pytest.FixtureRequest, tmp_path: Path) -> interfaces.Programs:
    """Give programs of an attempt whose image holds `check`."""
    if request.param == "fake":
        digest = ids.Digest(publishing.digest(publishing.COMPONENT))
        known = image.Program(Path("/bin/check"), digest, image.Kind.COMPONENT, ())
        return FakePrograms({"check": known})
    async with misbehaving.running() as registry, RegistryPuller(tmp_path / "images") as puller:
        registry.serve("app", "1", IMAGE)
        found = await puller.pull(f"{registry.address}/app:1")
    main = puller.program(found, (), ())
    spec = records.ContainerSpec(
        id=ATTEMPT,
        pod_namespace="default",
        pod_name="p",
        module_path=str(main.path),
        module_digest=main.digest,
        argv=main.argv,
        env=(),
        mounts=(records.Mount(str(found.tree), "/", read_only=True),),
        log_path="/l",
        memory_limit_bytes=None,
        cpu_limit_millis=None,
    )
    directory = layout.attempt(tmp_path, ATTEMPT)
    directory.mkdir(parents=True)
    (directory / layout.SPEC).write_bytes(spec.to_json())
    return DiskPrograms(tmp_path, tmp_path / "images")


async def test_a_program_has_the_whole_command(programs: interfaces.Programs) -> None:
    """Its arguments are the command, `command[0]` included."""
    found = await programs.find(ATTEMPT, ("check", "-v"))

    assert found.program.digest == publishing.digest(publishing.COMPONENT)
    assert (found.program.argv, found.export) == (("check", "-v"), "")


async def test_an_export_is_named_behind_the_program(programs: interfaces.Programs) -> None:
    """The program is the one before the sign, the export what follows."""
    found = await programs.find(ATTEMPT, ("check#ready",))

    assert found.program.digest == publishing.digest(publishing.COMPONENT)
    assert (found.program.argv, found.export) == (("check#ready",), "ready")


async def test_what_is_not_there_is_bad_input(programs: interfaces.Programs) -> None:
    """The text names it, and the container."""
    with pytest.raises(errors.BadInput, match="cannot run nosuch in container main") as told:
        await programs.find(ATTEMPT, ("nosuch",))

    assert told.value.reason == "CreateContainerError"
