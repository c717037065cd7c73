"""
The manifests for `kubectl apply -k deploy`: `python -m deploy.render` writes.

They are the chart's, with its defaults, so that there is one truth; what only
Helm understands is taken off. A test compares the files with what this makes.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster import binaries

HERE = Path(__file__).parent
_CHART = HERE.parent / "charts/wasm-node"
_HELM_ONLY = re.compile(r"^ +(helm\.sh/.*|app\.kubernetes\.io/managed-by: Helm)\n", re.MULTILINE)
_EMPTY = re.compile(r"^  annotations:\n(?! {4})", re.MULTILINE)
_TOP = "# Made by deploy/render.py from charts/wasm-node: change that.\n"


def pages() -> Mapping[Path, str]:
    """Return each file and what belongs into it."""
    uninstall = ("templates/uninstall/rbac.yaml", "templates/uninstall/job.yaml")
    return {
        HERE / "wasm-node.yaml": _rendered("--no-hooks"),
        HERE / "uninstall/uninstall.yaml": _rendered(
            *(f"--show-only={each}" for each in uninstall)
        ),
    }


def _rendered(*options: str) -> str:
    helm = str(binaries.helm() / "helm")
    words = [helm, "template", "wasm-node", str(_CHART), "--namespace=wasm-node"]
    done = subprocess.run(
        [*words, f"--kube-version={binaries.kubernetes()}", *options],
        check=True,
        capture_output=True,
        text=True,
    )
    return _TOP + _EMPTY.sub("", _HELM_ONLY.sub("", done.stdout))


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
