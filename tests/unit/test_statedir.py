"""The state directory."""

from pathlib import Path

import pytest

from wasm_node.agent import errors, statedir


def _made(root: Path) -> statedir.StateDir:
    made = statedir.StateDir(root / "state", root / "run", root / "logs")
    made.make()
    return made


def test_one_agent_at_a_time(tmp_path: Path) -> None:
    """A second agent on a directory is refused until the first has ended."""
    made = _made(tmp_path)
    refused = pytest.raises(errors.GaveUp, match="another wasm-node agent")
    with made.locked(), refused, made.locked():
        raise AssertionError
    with made.locked():
        pass


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    """The kernel takes 107 bytes; what is longer is said before any start."""
    with pytest.raises(errors.BadInput, match="107 bytes"):
        _made(tmp_path / ("x" * 108))


def test_a_write_is_whole(tmp_path: Path) -> None:
    """A file is replaced as a whole, and nothing else is left beside it."""
    for content in (b"one", b"two"):
        statedir.write(tmp_path / "file", content)

    assert [(tmp_path / "file", b"two")] == [
        (each, each.read_bytes()) for each in tmp_path.iterdir()
    ]
