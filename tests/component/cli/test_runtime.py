"""`wasm-node runtime`: what it cannot be told, it says before it begins."""

from pathlib import Path

import pytest

from wasm_node.cli import main


def test_a_share_is_no_more_than_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The grace of critical pods is a part of all the grace there is."""
    words = [f"--{name}={tmp_path / name}" for name in ("state", "run", "log-dir")]
    grace = ["--shutdown-grace=10", "--shutdown-grace-critical=11"]

    assert main.main(["runtime", *words, *grace]) == 1
    assert "--shutdown-grace-critical is 11: use 0 to 10" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
