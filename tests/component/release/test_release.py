"""A release: one version everywhere, and parts that work where they land."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import release, versions

_PINS = (
    "pyproject.toml",
    "requirements-image.lock",
    "agent/wasm_node/protocol/messages.py",
    "e2e/cluster/programs/kube/go.mod",
    "e2e/cluster/programs/kube/oldest.mod",
)


def test_versions_agree() -> None:
    """Every file says the same, and the page on upgrades has its row."""
    assert [] == list(versions.complaints())


@pytest.mark.parametrize(
    ("path", "said", "changed"),
    [
        *((path, r"0\.1\.0", "0.0.9") for path in versions.OURS),
        (versions.PAGE, r"\| 50\.", "| 49."),
        ("charts/wasm-node/Chart.yaml", r">=1\.\d+", ">=1.20"),
        ("Dockerfile", r"=rust:1\.\d+", "=rust:1.80"),
    ],
)
def test_a_file_that_disagrees_is_named(path: str, said: str, changed: str, tmp_path: Path) -> None:
    """Whatever one file says otherwise is a complaint that begins with it."""
    for name in (versions.PAGE, *versions.OURS, *_PINS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(versions.CHECKOUT / name, tmp_path / name)
    file = tmp_path / path
    file.write_text(re.sub(said, changed, file.read_text()))

    found = list(versions.complaints(tmp_path))

    assert [path] == [each.split()[0] for each in found]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_release_is_built_and_checked(tmp_path: Path) -> None:
    """Every step of `make release-check` passes; its parts lie together."""
    command = [sys.executable, "-m", "deploy.release", str(tmp_path)]
    done = subprocess.run(command, cwd=versions.CHECKOUT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"0 of {len(release.STEPS)} steps failed" in done.stdout
    version = re.escape(versions.project())
    found = " ".join(sorted(each.name for each in tmp_path.iterdir()))
    assert re.fullmatch(
        rf"wasm-node-{version}(\.oci\.tar wasm-node-{version})?\.tgz wasm-node\.cdx\.json "
        rf"wasm_node-{version}-\S+\.whl wasm_node-{version}\.tar\.gz "
        rf"wasm_node_engine-{version}-\S+\.whl",
        found,
    )
