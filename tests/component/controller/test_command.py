"""`wasm-node controller`, as a person starts it: what stops the start."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

GIVEN = {
    "namespace": "wasm",
    "agentServiceAccount": "agent",
    "agentSelector": {"app": "agent"},
    "nodeName": "wasm-{host}",
}


def start(directory: Path, **changes: object) -> subprocess.CompletedProcess[str]:
    """Start it with settings, and without a cluster."""
    path = directory / "controller.yaml"
    path.write_text(yaml.safe_dump(GIVEN | changes))
    away = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")
    env = {key: value for key, value in os.environ.items() if key not in away}
    return subprocess.run(
        [Path(sys.executable).parent / "wasm-node", "controller", "--config", path],
        env={**env, "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    """One line: the file, the field, what is allowed."""
    ended = start(tmp_path, nodeName="{host}")

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"wasm-node controller: cannot use settings {tmp_path}")
    assert "nodeName: has to be {host} once" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    """Neither a pod nor a kubeconfig: one line says both."""
    ended = start(tmp_path)

    assert ended.returncode == 1
    assert "not in a pod, and KUBECONFIG is not set" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
