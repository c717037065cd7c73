"""Tests notice small faults in what decides; see `mutants`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutation import mutants

_CHECKOUT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(3600)  # some 900 faults, a second or less each
def test_small_faults_in_plan_are_noticed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """At least 90 % of all, and not much less of any module."""
    file = tmp_path / "counts.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation.mutants", f"--json={file}"],
        cwd=_CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
    )
    if file.exists():
        for name, (noticed, tried) in json.loads(file.read_text()).items():
            record_property(f"{mutants.NOTICED}{name}", f"{noticed} of {tried}")

    assert done.returncode == 0, done.stdout + done.stderr
