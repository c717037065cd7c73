"""What every Commands promises: the fake and the real runtime's."""

import math
from collections.abc import Iterator

import pytest

from tests.component.runtime import running
from tests.fakes.commands import FakeCommands, FakePrograms
from wasm_node.agent import interfaces
from wasm_node.agent.model import probe
from wasm_node.agent.probes.commands import ContainerCommands
from wasm_node.protocol import records

Made = tuple[interfaces.Commands, records.AttemptId]
GUESTS = ("echo", "exit", "spin")


@pytest.fixture(scope="module", params=running.ENGINES)
def runtime(request: pytest.FixtureRequest) -> Iterator[running.RunningRuntime]:
    """Return a real runtime."""
    with running.runtime(engine=request.param) as made:
        yield made


@pytest.fixture(params=["fake", "real"])
async def made(request: pytest.FixtureRequest, runtime: running.RunningRuntime) -> Made:
    """Give Commands, and an attempt that runs."""
    spec = runtime.spec("sleep", pod="there")
    await runtime.started(spec)
    if request.param == "real":
        programs = FakePrograms({name: running.command(name) for name in GUESTS})
        return ContainerCommands(programs, runtime.containers), spec.id
    fake = FakeCommands()
    fake.outcomes["exit"] = probe.Failed("")
    fake.outcomes["spin"] = probe.Failed('command timed out: "spin" timed out after 1s')
    fake.outcomes["nosuch"] = probe.Unclear("cannot run nosuch in container main: there is none")
    return fake, spec.id


def _probe(*command: str) -> probe.Probe:
    return probe.Probe(probe.Kind.LIVENESS, probe.Exec(command), 0, 10, 1, 1, 3, None)


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (("echo", "well"), probe.Passed()),
        (("exit", "7"), probe.Failed("")),
        (("spin",), probe.Failed('command timed out: "spin" timed out after 1s')),
        (("nosuch",), probe.Unclear("cannot run nosuch in container main: there is none")),
    ],
)
async def test_a_check(made: Made, command: tuple[str, ...], outcome: probe.Outcome) -> None:
    """It passes, fails, is too late or shows nothing."""
    commands, attempt = made

    assert await commands.probe(_probe(*command), attempt) == outcome


@pytest.mark.parametrize("within_s", [60.0, math.inf])
async def test_a_hook(made: Made, within_s: float) -> None:
    """It is waited for, and whether it went well is told."""
    commands, attempt = made
    well = await commands.call(probe.Exec(("echo", "x")), attempt, within_s=within_s)
    ill = await commands.call(probe.Exec(("exit", "1")), attempt, within_s=within_s)

    assert well == probe.Passed()
    assert isinstance(ill, probe.Failed)
