"""`wasm-node ps` and `stop`: the node's own view, by the real commands."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.component.runtime import running


@pytest.fixture
def own() -> Iterator[running.RunningRuntime]:
    """Return a runtime of the test's own, to be hurt."""
    with running.runtime() as made:
        yield made


async def _command(own: running.RunningRuntime, *words: str) -> tuple[int, str, str]:
    code = "import sys; from wasm_node.cli import main; sys.exit(main.main())"
    where = ("--state", str(own.settings.state), "--run", str(own.settings.run))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, words[0], *where, *words[1:]],
        env={"PYTHONPATH": str(running.PACKAGES)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_ps_shows_what_runs_and_what_has_ended(own: running.RunningRuntime) -> None:
    """Running containers by default; with -a the ended ones and their codes."""
    worker = await own.started(own.spec("sleep", pod="stays"))
    await own.run(own.spec("exit", "42", pod="gone"))
    _, few, _ = await _command(own, "ps")
    _, all_, _ = await _command(own, "ps", "-a")

    assert few.split()[:4] == ["POD", "NAMESPACE", "CONTAINER", "ATTEMPT"]
    assert re.search(rf"Running   \d+s +{worker.pid}$", few, re.MULTILINE)
    assert "gone-name" not in few
    assert "Exited (42, Error)" in all_


async def test_ps_works_without_a_runtime(own: running.RunningRuntime) -> None:
    """What the runtime left on disk is shown, and said to be that."""
    await own.run(own.spec("exit", "7", pod="past"))
    own.end()
    code, shown, said = await _command(own, "ps", "-a")

    assert code == 0
    assert "past-name" in shown
    assert "Exited (7, Error)" in shown
    assert "cannot reach the runtime" in said


@pytest.mark.parametrize("name", ["stays", "stays-name", "default/stays-name"])
async def test_stop_ends_a_pod_by_any_of_its_names(own: running.RunningRuntime, name: str) -> None:
    """Uid, name, or namespace and name: its containers end, others do not."""
    other = await own.started(own.spec("sleep", pod="other"))
    await own.started(own.spec("sleep", pod="stays"))
    code, said, _ = await _command(own, "stop", name)
    facts = await own.containers.listed()

    assert (code, said) == (0, f"{name}/main: stop, 143\n")
    assert other in facts


async def test_stopping_nothing_says_so(own: running.RunningRuntime) -> None:
    """A pod that does not run here is an error that points to ps."""
    code, _, said = await _command(own, "stop", "nobody")

    assert code == 1
    assert "cannot stop nobody" in said
