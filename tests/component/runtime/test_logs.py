"""The guest's output in CRI lines: all of it, in order, and nothing else."""

import pytest

from tests.component.runtime.running import RunningRuntime
from tests.wasm import guests


async def test_output_arrives_in_lines(shared: RunningRuntime) -> None:
    """Arguments and environment reach the guest, its lines reach the log."""
    spec = shared.spec("echo", "one", "two", pod="echo")
    await shared.run(spec)

    assert ("stdout", "F") == shared.log(spec)[0][:2]
    assert "one" in shared.log(spec)[0][2]


async def test_the_environment_is_the_specs_alone(shared: RunningRuntime) -> None:
    """A guest sees what its spec names, and nothing of the host's."""
    spec = shared.spec("env", pod="env", env=[("GREETING", "hi"), ("EMPTY", "")])
    await shared.run(spec)

    assert ["GREETING=hi", "EMPTY="] == [text for _, _, text in shared.log(spec)]


async def test_stderr_is_told_apart(shared: RunningRuntime) -> None:
    """What goes to descriptor 2 is tagged stderr."""
    spec = shared.spec("stderr", pod="stderr")
    await shared.run(spec)

    assert "stderr" in {stream for stream, _, _ in shared.log(spec)}


async def test_a_line_without_end_is_a_line(shared: RunningRuntime) -> None:
    """What a guest leaves without a newline is not lost."""
    spec = shared.spec("partial", pod="partial")
    await shared.run(spec)

    assert shared.log(spec)[-1][1] == "F"
    assert shared.log(spec)[-1][2] != ""


async def test_a_long_line_is_cut_and_tagged(shared: RunningRuntime) -> None:
    """Pieces of 16 KiB are P, the last is F; together they are the line."""
    spec = shared.spec("longline", pod="longline")
    await shared.run(spec)
    lines = shared.log(spec)

    assert {"P"} == {tag for _, tag, text in lines if len(text) == 16384}
    assert lines[-1][1] == "F"
    assert "P" in {tag for _, tag, _ in lines}


async def test_a_flood_is_whole(shared: RunningRuntime) -> None:
    """8 MiB written as fast as possible arrive, each line once, in order."""
    spec = shared.spec("flood", "8", pod="flood")
    await shared.run(spec)
    numbers = [int(text.rstrip(".")) for _, _, text in shared.log(spec)]

    assert list(range(8 * 16384)) == numbers


async def test_attempts_have_logs_of_their_own(shared: RunningRuntime) -> None:
    """A second attempt writes where its own spec says."""
    first = shared.spec("echo", "first", pod="again", attempt=0)
    second = shared.spec("echo", "second", pod="again", attempt=1)
    await shared.run(first)
    await shared.run(second)

    assert ["first"] == [text for _, _, text in shared.log(first)]
    assert ["second"] == [text for _, _, text in shared.log(second)]


@pytest.mark.timeout(600)  # the first may have to fetch the toolchain
async def test_a_c_program_writes_like_any(shared: RunningRuntime) -> None:
    """Output of an ordinary toolchain's program comes through as well."""
    spec = shared.spec(guests.path("c-hello"), pod="c-hello")
    how = await shared.run(spec)

    assert how.code == 0
    assert shared.log(spec)
