"""`wasm-node run` ends a pod that has more on the disk than it may."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.wasm import guests

_SOON = """
import sys
from wasm_node.agent.loops import limiting
from wasm_node.cli import main
limiting._REST_S = 0.1  # in place of ten seconds
sys.exit(main.main())
"""


def _filled(name: str, image: Path, volume: dict[str, str], **main: Any) -> dict[str, Any]:
    """Give a pod that writes 3 MiB to a volume, and runs on."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    container = {"name": "main", "image": f"file:{image}", "args": ["3"], "volumeMounts": mounts}
    spec = {
        "restartPolicy": "Always",
        "containers": [container | main],
        "volumes": [{"name": "data", "emptyDir": volume}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_who_uses_more_than_its_limits_goes(tmp_path: Path) -> None:
    """A volume's size, or what the pod may have in all: told, and ended."""
    fill, limits = guests.path("fill"), {"limits": {"ephemeral-storage": "2Mi"}}
    pods = [
        _filled("volume", fill, {"sizeLimit": "2Mi"}),
        _filled("pod", fill, {}, resources=limits),
    ]
    manifest = tmp_path / "pods.yaml"
    manifest.write_text("\n---\n".join(map(json.dumps, pods)))
    done = subprocess.run(
        [sys.executable, "-c", _SOON, "run", str(manifest)],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    # A slow machine says that it compiles, too.
    told = [line for line in done.stderr.splitlines() if ": Compiling image " not in line]
    assert sorted(told) == [
        "pod: Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
        'volume: Usage of EmptyDir volume "data" exceeds the limit "2Mi". ',
    ]
    assert done.returncode == 143
