"""A run directory in which no socket can be made: who starts there says so."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

_SAID = (
    "as the run directory: its path has {} bytes, and sockets below it allow 76; choose a shorter"
)


@pytest.fixture
def parent() -> Iterator[Path]:
    """Give a directory of a path so long that those below are too long."""
    with tempfile.TemporaryDirectory() as root:
        made = Path(root) / ("x" * (70 - len(f"{root}/")))
        made.mkdir()
        yield made


def _run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("wasm-node")), *words]
    return subprocess.run(
        command, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=15
    )


def test_the_runtime_does_not_begin(parent: Path) -> None:
    """It ends with 1 and has made nothing."""
    where = [f"--{each}={parent / each}" for each in ("state", "log-dir")]
    done = _run("runtime", *where, f"--run={parent / 'running'}")

    assert done.returncode == 1
    assert f"cannot use {parent / 'running'} " + _SAID.format(78) in done.stderr
    assert list(parent.iterdir()) == []


def test_the_agent_does_not_begin(parent: Path, tmp_path: Path) -> None:
    """It would only dial; nobody can listen there."""
    places = {f"{each}Dir": str(parent / each) for each in ("state", "log")}
    config = tmp_path / "agent.yaml"
    places |= {"runDir": str(parent / "running"), "kubeconfig": str(config)}
    config.write_text(yaml.safe_dump({"nodeName": "wasm-a", "healthPort": 0, **places}))
    done = _run("agent", f"--config={config}")

    assert done.returncode == 1
    assert f"wasm-node agent: cannot use {parent / 'running'} " + _SAID.format(78) in done.stderr


def test_a_run_on_a_laptop_does_not_begin(parent: Path) -> None:
    """Its directories are where temporary ones go."""
    done = _run("run", "hello", env={"TMPDIR": str(parent)})

    assert done.returncode == 1
    assert "wasm-node run: cannot use " in done.stderr
    assert "TMPDIR for `wasm-node run`" in done.stderr
    assert list(parent.iterdir()) == []


def test_a_question_to_the_runtime_says_why_it_cannot_be_asked(parent: Path) -> None:
    """The kernel has no number for a path that no socket can have."""
    done = _run("stop", f"--state={parent}", f"--run={parent / ('x' * 30)}", "pod")

    assert done.returncode == 1
    assert "AF_UNIX path too long" in done.stderr
