"""Commands as checks and hooks: what is run, and what its end shows."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.fakes.clock import settle
from tests.fakes.commands import FakePrograms
from tests.fakes.containers import FakeContainers
from wasm_node.agent import interfaces
from wasm_node.agent.model import ids, image, probe
from wasm_node.agent.probes import commands
from wasm_node.protocol import records

_SPEC = records.ContainerSpec(
    id=records.AttemptId("u", "main", 0),
    pod_namespace="default",
    pod_name="p",
    module_path="/m",
    module_digest="sha256:1",
    argv=("m",),
    env=(),
    mounts=(),
    log_path="/l",
    memory_limit_bytes=None,
    cpu_limit_millis=None,
)
_PROGRAM = image.Program(Path("/check"), ids.Digest("sha256:2"), image.Kind.MODULE, ())


class Bed:
    """A container that runs, and commands in it."""

    def __init__(self) -> None:
        self.containers = FakeContainers()
        self.commands = commands.ContainerCommands(
            FakePrograms({"check": _PROGRAM}), self.containers
        )

    async def probe(self, *command: str, timeout_s: float = 60) -> probe.Outcome:
        """Carry out a check."""
        check = probe.Exec(command or ("check",))
        wanted = probe.Probe(probe.Kind.LIVENESS, check, 0, 10, timeout_s, 1, 3, None)
        return await self.commands.probe(wanted, _SPEC.id)

    def behave(self, code: int, output: bytes = b"") -> None:
        """Have commands write this, and end so."""

        async def run(_program: image.Program, _export: str, streams: interfaces.Streams) -> int:
            rest = output
            while rest:
                written = await asyncio.to_thread(os.write, streams.stdout, rest[: 2**16])
                rest = rest[written:]
            return code

        self.containers.executes = run

    def hang(self) -> None:
        """Have commands do nothing, for ever."""

        async def run(*_: object) -> int:
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

        self.containers.executes = run


@pytest.fixture
async def bed() -> Bed:
    """Give a container that runs."""
    made = Bed()
    await made.containers.start(_SPEC)
    return made


async def test_zero_passes(bed: Bed) -> None:
    """Whatever it says; it has the whole command, and is compiled before."""
    bed.behave(0, b"all is well")
    outcome = await bed.probe("check", "-v")

    assert outcome == probe.Passed()
    assert bed.containers.executed == [(_SPEC.id, ("check", "-v"), "")]
    assert bed.containers.prepared == [_PROGRAM.digest]


async def test_any_other_code_fails_with_what_it_said(bed: Bed) -> None:
    """Both streams, in their order."""

    async def run(_program: image.Program, _export: str, streams: interfaces.Streams) -> int:
        for stream, word in (
            (streams.stderr, b"a"),
            (streams.stdout, b"b"),
            (streams.stderr, b"c"),
        ):
            os.write(stream, word)
        return 3

    bed.containers.executes = run

    assert await bed.probe() == probe.Failed("abc")


async def test_of_much_the_beginning_is_kept(bed: Bed) -> None:
    """10 KiB, as the kubelet does; the rest holds nobody up."""
    bed.behave(1, b"x" * 3_000_000)
    outcome = await bed.probe()

    assert outcome == probe.Failed("x" * 10240)


async def test_what_writes_for_ever_is_cut_off(bed: Bed) -> None:
    """After 16 MiB nobody reads any more, and it learns that."""

    async def run(_program: image.Program, _export: str, streams: interfaces.Streams) -> int:
        while True:
            try:
                await asyncio.to_thread(os.write, streams.stdout, bytes(2**16))
            except BrokenPipeError:
                return 32

    bed.containers.executes = run
    outcome = await bed.probe()

    assert isinstance(outcome, probe.Failed)


async def test_what_is_no_text_is_shown_as_far_as_it_can_be(bed: Bed) -> None:
    """Events hold text; bytes that are none become a mark."""
    bed.behave(1, b"\xff!")

    assert await bed.probe() == probe.Failed("\N{REPLACEMENT CHARACTER}!")


async def test_what_takes_too_long_has_failed_and_is_killed(bed: Bed) -> None:
    """In the kubelet's words, with the time as Go shows it."""
    bed.hang()
    outcome = await bed.probe("check", "-a b", timeout_s=0.01)

    assert outcome == probe.Failed('command timed out: "check -a b" timed out after 0s')
    assert bed.containers.killed == [_SPEC.id]


async def test_a_hook_has_the_time_that_is_left(bed: Bed) -> None:
    """After that it is killed."""
    bed.hang()
    outcome = await bed.commands.call(probe.Exec(("check",)), _SPEC.id, within_s=0.01)

    assert outcome == probe.Failed('command timed out: "check" timed out after 0s')
    assert bed.containers.killed == [_SPEC.id]


@pytest.mark.parametrize(("seconds", "shown"), [(1, "1s"), (90, "1m30s"), (3600, "1h0m0s")])
def test_a_timeout_is_shown_as_go_does(seconds: float, shown: str) -> None:
    """People look for the very words."""
    assert (
        commands.late(("a", "b"), seconds).why
        == f'command timed out: "a b" timed out after {shown}'
    )


async def test_a_hook_that_fails_says_how(bed: Bed) -> None:
    """Its code is in the agent's log, and nowhere else."""
    bed.behave(3, b"no such queue")
    outcome = await bed.commands.call(probe.Exec(("check", "-v")), _SPEC.id, within_s=60)

    assert outcome == probe.Failed("command 'check -v' exited with 3: no such queue")


async def test_a_hook_without_an_end_is_waited_for(bed: Bed) -> None:
    """A postStart has no time limit, on a kubelet neither."""
    outcome = await bed.commands.call(probe.Exec(("check#up",)), _SPEC.id, within_s=float("inf"))

    assert outcome == probe.Passed()
    assert bed.containers.executed == [(_SPEC.id, ("check#up",), "up")]


async def test_what_cannot_be_run_shows_nothing(bed: Bed) -> None:
    """A command that is not there, or a runtime that is away: both are told."""
    unknown = await bed.probe("nosuch")
    bed.containers.away = True
    away = await bed.probe()

    assert isinstance(unknown, probe.Unclear)
    assert unknown.why == "cannot run nosuch in container main: there is none"
    assert isinstance(away, probe.Unclear)
    assert "cannot reach the runtime" in away.why


async def test_what_ended_with_its_container_shows_nothing(bed: Bed) -> None:
    """Its code is the stop's, and not its own."""
    bed.hang()
    async with asyncio.TaskGroup() as group:
        trial = group.create_task(bed.probe())
        await settle()
        while not bed.containers.executed:
            await asyncio.sleep(0.001)
        bed.containers.end(_SPEC.id, 0)

    assert isinstance(trial.result(), probe.Unclear)


@pytest.mark.parametrize(
    ("ended_by", "code", "outcome"),
    [
        (records.EndedBy.MEMORY, 137, probe.Failed("too much memory")),
        (records.EndedBy.CRASH, 139, probe.Failed("too much memory")),
        (records.EndedBy.ITSELF, 134, probe.Failed("too much memory")),
        (records.EndedBy.NEVER_STARTED, 128, probe.Unclear("too much memory")),
        (records.EndedBy.UNKNOWN, 137, probe.Unclear("too much memory")),
    ],
)
def test_who_ended_it_counts(ended_by: records.EndedBy, code: int, outcome: probe.Outcome) -> None:
    """What is no fault of the guest is none of the container's health."""
    ended = records.ExitRecord(code, ended_by, "", "too much memory", 0, 1)

    assert commands.judged(ended, "") == outcome


async def test_slow_ones_let_others_begin(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few begin at a time; none waits for one that hangs, but a moment."""
    monkeypatch.setattr(commands, "_BEGINNING_S", 0.02)
    bed.hang()
    async with asyncio.TaskGroup() as group:
        hanging = [group.create_task(bed.probe()) for _ in range(40)]
        while not bed.containers.executed:
            await asyncio.sleep(0.001)
        at_first = len(bed.containers.executed)
        while len(bed.containers.executed) < 40:
            await asyncio.sleep(0.001)
        for each in hanging:
            each.cancel()

    assert at_first == 16
