"""`wasm-node runtime`: what it cannot be told, it says before it begins."""

from pathlib import Path

import pytest

from wasm_node.cli import main


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ("", "'' is not PRIORITY=SECONDS"),
        ("10", "'10' is not PRIORITY=SECONDS"),
        ("low=10", "'low=10' is not PRIORITY=SECONDS"),
        ("0=10,", "'' is not PRIORITY=SECONDS"),
        ("0=-1", "'0=-1' is not 0 to 86400 seconds"),
        ("0=nan", "'0=nan' is not 0 to 86400 seconds"),
        ("0=10,5=1,0=3", "0 is there twice"),
    ],
)
def test_groups_of_a_shutdown_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], groups: str, why: str
) -> None:
    """What is no list of priorities and seconds is refused, by its part."""
    words = [f"--{name}={tmp_path / name}" for name in ("state", "run", "log-dir")]

    assert main.main(["runtime", *words, f"--shutdown-grace-period-by-pod-priority={groups}"]) == 1
    said = capsys.readouterr().err
    assert f"--shutdown-grace-period-by-pod-priority: {why}" in said
    assert not (tmp_path / "state").exists()
