"""`wasm-node wipe`: what a node kept on a host goes, once nobody uses it."""

import fcntl
from pathlib import Path

import pytest

from wasm_node.cli import main


def _host(root: Path) -> list[str]:
    """Make a host's directories, with something of each kind in them."""
    for name in ("state", "run", "logs"):
        (root / name / "deep" / "er").mkdir(parents=True)
        (root / name / "deep" / "file").write_text(name)
        (root / name / "link").symlink_to(root)
    for lock in ("agent.lock", "runtime.lock"):
        (root / "state" / lock).touch()
    words = ("--state", "--run", "--log-dir")
    return [f"{word}={root / name}" for word, name in zip(words, _NAMES, strict=True)]


_NAMES = ("state", "run", "logs")


def test_everything_goes_but_the_directories(tmp_path: Path) -> None:
    """All three are empty afterwards; what a link led to is not touched."""
    words = _host(tmp_path)

    assert main.main(["wipe", *words]) == 0
    assert {name: [] for name in _NAMES} == {
        each.name: list(each.iterdir()) for each in tmp_path.iterdir()
    }


def test_a_host_without_a_node_is_wiped_already(tmp_path: Path) -> None:
    """Directories that are not there are no error."""
    words = [f"--{name}={tmp_path / name}" for name in ("state", "run", "log-dir")]

    assert main.main(["wipe", *words]) == 0


@pytest.mark.parametrize(
    ("lock", "owner"), [("agent.lock", "the agent"), ("runtime.lock", "the runtime")]
)
def test_nothing_goes_while_it_is_used(
    lock: str, owner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says who holds the state, and removes nothing."""
    words = _host(tmp_path)
    with (tmp_path / "state" / lock).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code = main.main(["wipe", *words, "--timeout=0"])

    assert code == 1
    assert f"{owner} still uses it" in capsys.readouterr().err
    assert (tmp_path / "logs" / "deep" / "file").read_text() == "logs"
