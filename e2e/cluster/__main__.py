"""
The test bed's command: `python -m e2e.cluster build|up|down [TIER]`.

`build` makes the programs, so that no test has to wait for them; `up` and
`down` are `make cluster-up` and `make cluster-down`. The tier is `a`, unless
it is given.
"""

import argparse
import os.path
import sys
from pathlib import Path

from e2e.cluster import binaries, hosts, kind, processes, standing

_CHECKOUT = Path(__file__).parents[2]
_DIRECTORY = _CHECKOUT / ".cluster"
_UP = {
    "a": "a Kubernetes control plane, a registry and a wasm node",
    "b": "two hosts with real kubelets, a registry and the chart's release wasm-node",
    "kind": "a cluster of kind, a registry and the chart's release wasm-node",
}
_BUILD = {"a": binaries.build, "b": hosts.build, "kind": kind.build}


def main() -> int:
    """Do one verb; the exit code is 1 if it could not be done."""
    parser = argparse.ArgumentParser(prog="e2e.cluster", description=__doc__)
    parser.add_argument("verb", choices=["build", "up", "down"])
    parser.add_argument("tier", choices=list(_UP), nargs="?", default="a")
    words = parser.parse_args()
    try:
        if words.verb == "build":
            _BUILD[words.tier]()
        elif words.verb == "up":
            _tell(standing.up(_DIRECTORY, words.tier), words.tier)
        else:
            standing.down(_DIRECTORY)
    except processes.Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _tell(env_file: Path, tier: str) -> None:
    print(f"Tier {tier}: {_UP[tier]} are up.")
    print(f"Use them:  . {os.path.relpath(env_file)} && kubectl get nodes -o wide")
    print("End them:  make cluster-down")


if __name__ == "__main__":
    sys.exit(main())
