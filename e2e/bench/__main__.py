"""
`make bench`: a wasm node side by side with kwok on one control plane.

kwok writes statuses and runs nothing: its figures are what the control plane
allows, so each of ours is a ratio to it, taken in the same run. Rounds
alternate between the two; what a row says of a pod is what a separate watcher
of the API saw, and a wasm pod counts only if its log holds its own UID.
"""

import argparse
import platform
import tempfile
from importlib import metadata
from pathlib import Path

from e2e import watching
from e2e.bench import document, nodes, rounds, table
from e2e.cluster import ControlPlane, Guard


def main() -> None:
    """Measure, print the table, and write it into the document."""
    parser = argparse.ArgumentParser(prog="e2e.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args().rounds
    about = _about(wanted)
    kwok, wasm = _measure(wanted)
    text = f"{about}\n\n{table.render(kwok, wasm)}"
    print(text)
    document.write("figures", text)


def _measure(wanted: int) -> tuple[list[rounds.Round], list[rounds.Round]]:
    found: tuple[list[rounds.Round], list[rounds.Round]] = ([], [])
    with tempfile.TemporaryDirectory() as root, Guard.start() as guard:
        plane = ControlPlane.start(guard, Path(root) / "plane", scheduler_qps=1000)
        sides = (nodes.kwok(guard, plane, Path(root)), nodes.wasm(guard, plane, Path(root)))
        with watching.PodWatcher(plane) as watcher:
            bench = rounds.Bench(plane, watcher)
            for node in sides:
                bench.measure(node)  # warms what is made once: image, code, caches
            for number in range(wanted):
                for node, taken in zip(sides, found, strict=True):
                    print(f"round {number + 1} of {wanted}: {node.name}", flush=True)
                    taken.append(bench.measure(node))
    return found


def _about(wanted: int) -> str:
    versions = ", ".join(
        f"{name} {metadata.version(package)}"
        for name, package in (("wasm-node", "wasm-node"), ("native engine", "wasm-node-engine"))
    )
    command = "make bench" if wanted == 5 else f"python -m e2e.bench --rounds {wanted}"
    return (
        f"{document.today()}, `{command}`, {wanted} alternating rounds; {document.machine()} "
        f"before it began; {versions}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
