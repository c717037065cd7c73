"""`wasm-node exec` by the real command: streams, codes, whom it means."""

import asyncio
import dataclasses
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from tests.component.runtime import running


@pytest.fixture(scope="module")
def own() -> Iterator[running.RunningRuntime]:
    """Return a runtime; pods of different names tell the tests apart."""
    with running.runtime() as made:
        yield made


def _words(own: running.RunningRuntime, words: Sequence[str]) -> list[str]:
    code = "import sys; from wasm_node.cli import main; sys.exit(main.main())"
    where = ("--state", str(own.settings.state), "--run", str(own.settings.run))
    return [sys.executable, "-c", code, "exec", *where, *words]


async def _command(
    own: running.RunningRuntime, *words: str, stdin: str = ""
) -> tuple[int, str, str]:
    done = await asyncio.to_thread(
        subprocess.run,
        _words(own, words),
        input=stdin,
        env={"PYTHONPATH": str(running.PACKAGES)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_a_module_runs_with_other_arguments(own: running.RunningRuntime) -> None:
    """Where the image is one module; the exit code is passed on."""
    await own.started(own.spec("note", pod="codes"))

    assert await _command(own, "codes-name", "--", "any", "name", "at all") == (2, "", "")


async def test_an_export_of_the_container(own: running.RunningRuntime) -> None:
    """An integer is the code; a trap is 134 and tells why."""
    await own.started(own.spec("note", pod="exports"))
    code, _, said = await _command(own, "exports", "--", "#noted")
    trap, _, cry = await _command(own, "exports", "#cries")

    assert (code, said) == (1, "")
    assert trap == 134
    assert cry.count("unreachable") == 1


async def test_the_input_is_ours_if_it_is_wanted(own: running.RunningRuntime) -> None:
    """With -i it reads what we are given; else there is nothing to read."""
    await own.started(own.spec("note", pod="reads"))
    given = await _command(own, "-i", "reads", "--", "#copies", stdin="a line\n")
    kept = await _command(own, "reads", "--", "#copies", stdin="a line\n")

    assert (given, kept) == ((0, "a line\n", ""), (0, "", ""))


async def test_ctrl_c_kills_the_command(own: running.RunningRuntime) -> None:
    """130, and nothing of it is left; the container runs on."""
    worker = await own.started(own.spec("count", "50", pod="interrupted"))
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/env",
        "--default-signal=INT",  # who tests in the background of a shell has it ignored
        *_words(own, ("interrupted", "--", "count", "50")),
        env={"PYTHONPATH": str(running.PACKAGES)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = await process.stdout.readline()
    during = _beside(own)
    process.send_signal(signal.SIGINT)
    code = await process.wait()
    await asyncio.to_thread(running.until, lambda: not _beside(own), "the end of it")

    assert (first, code, len(during)) == (b"n 0\n", 130, 1)
    assert worker in await own.containers.listed()


async def test_a_container_has_to_be_chosen(own: running.RunningRuntime) -> None:
    """Of several the one that -c names; the text lists them."""
    for name in ("main", "other"):
        spec = own.spec("note", pod="two")
        which = dataclasses.replace(spec.id, container=name)
        await own.started(dataclasses.replace(spec, id=which))
    code, _, said = await _command(own, "two-name", "--", "note", "1", "2")
    chosen, _, _ = await _command(own, "-c", "other", "two-name", "--", "note", "1", "2")
    _, _, wrong = await _command(own, "-c", "third", "two-name", "--", "note", "1", "2")

    assert (code, chosen) == (1, 2)
    assert "choose a container with -c, one of: [main other]" in said
    assert "cannot run in container third of two-name: there run [main other]" in wrong


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nobody", "--", "x"), "no container of such a pod runs here (see wasm-node ps)"),
        (("nobody",), "write wasm-node exec [-i] [-c CONTAINER] POD -- COMMAND"),
        (("nobody", "-c", "main", "--", "x"), "write wasm-node exec [-i] [-c CONTAINER] POD"),
    ],
)
async def test_what_cannot_be_meant(
    own: running.RunningRuntime, words: Sequence[str], says: str
) -> None:
    """The text says what to write instead."""
    code, _, said = await _command(own, *words)

    assert code == 1
    assert says in said


def _beside(own: running.RunningRuntime) -> list[int]:
    assert own.process is not None
    pids = running.children(own.process.pid)
    return [pid for pid in pids if running.comm(pid).startswith("exec:")]
