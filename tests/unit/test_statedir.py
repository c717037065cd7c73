"""The state directory."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wasm_node.agent import errors, statedir

_NOBODY = 65534


@pytest.fixture
def made() -> Iterator[statedir.StateDir]:
    """Give a state directory of our own, where paths are short."""
    with tempfile.TemporaryDirectory() as root:
        yield _made(Path(root))


def _made(root: Path) -> statedir.StateDir:
    made = statedir.StateDir(root / "state", root / "run", root / "logs")
    made.make()
    return made


async def test_one_agent_at_a_time(made: statedir.StateDir) -> None:
    """A second agent says so, and goes on when the first has ended."""
    waiting = asyncio.Event()
    entered: list[str] = []

    async def second() -> None:
        async with made.locked(waiting.set):
            entered.append("second")

    first = made.locked(lambda: entered.append("never waits"))
    async with asyncio.TaskGroup() as group, first:
        group.create_task(second())
        await waiting.wait()
        entered.append("first")

    assert ["first", "second"] == entered


async def test_waiting_can_be_given_up(made: statedir.StateDir) -> None:
    """Who is cancelled while it waits holds nothing."""
    waiting = asyncio.Event()

    async def second() -> None:
        async with made.locked(waiting.set):
            raise AssertionError

    async with made.locked(waiting.set), asyncio.TaskGroup() as group:
        task = group.create_task(second())
        await waiting.wait()
        task.cancel()
    async with made.locked(waiting.set):
        pass


async def test_secrets_of_a_killed_agent_are_removed(made: statedir.StateDir) -> None:
    """Who takes the directory over finds none of the last one's keys."""
    (made.credentials / "keys").mkdir(parents=True)

    async with made.locked(lambda: None):
        assert not made.credentials.exists()


def test_a_run_directory_of_too_long_a_path_is_refused() -> None:
    """The kernel takes 107 bytes for a socket; none is tried before that."""
    with tempfile.TemporaryDirectory() as root:
        room = 76 - len(f"{root}//run")
        _made(Path(root) / ("x" * room))
        with pytest.raises(errors.BadInput, match=r"path has 77 bytes, .* allow 76; choose a"):
            _made(Path(root) / ("x" * (room + 1)))


def test_directories_that_are_not_ours_yet_are_waited_for() -> None:
    """Before the runtime has given them to the agent's user."""
    refused = pytest.raises(errors.Retryable, match="with --agent-uid")
    with tempfile.TemporaryDirectory() as root, _as_another_user(Path(root)), refused:
        _made(Path(root))


def test_a_write_is_whole(tmp_path: Path) -> None:
    """A file is replaced as a whole, and nothing else is left beside it."""
    for content in (b"one", b"two"):
        statedir.write(tmp_path / "file", content)

    assert [(tmp_path / "file", b"two")] == [
        (each, each.read_bytes()) for each in tmp_path.iterdir()
    ]


def test_a_secret_is_for_us_only(tmp_path: Path) -> None:
    """It is replaced as a whole, and never readable by others."""
    file = tmp_path / "key"
    file.touch(mode=0o644)
    statedir.write_secret(file, b"secret")

    assert [(file, b"secret", 0o600)] == [
        (each, each.read_bytes(), each.stat().st_mode & 0o777) for each in tmp_path.iterdir()
    ]


def test_a_directory_knows_who_it_is(made: statedir.StateDir) -> None:
    """Its identity stays, and no other directory has it."""
    another = _made(made.state / "another")

    assert made.holder() == made.holder()
    assert made.holder() != another.holder()


@contextlib.contextmanager
def _as_another_user(directory: Path) -> Iterator[None]:
    """Be somebody who may not write there, root or not."""
    directory.chmod(0o555)
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)
        directory.chmod(0o755)
