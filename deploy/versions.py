"""
Where versions are written, and whether they agree.

A release has one version, in files that as many tools read; and one row of the
table in docs/upgrade.md says which wasmtime and which Kubernetes belong to it.
A test and `release` complain about what `complaints` finds. pyproject.toml is
right by definition.
"""

import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PAGE = "docs/upgrade.md"
CHANGELOG = "CHANGELOG.md"
_QUOTED = r'^version = "(.+)"$'
_IMAGE = r"^ +image: \"?wasm-node:([^\"\s]+)"
_REPORTED = r"\+wasm-node\.(\d+\.\d+\.\d+)"
OURS = {
    "agent/engine/Cargo.toml": _QUOTED,
    "agent/engine/Cargo.lock": r'^name = "wasm-node-engine"\nversion = "(.+)"$',
    "agent/engine/pyproject.toml": _QUOTED,
    "charts/wasm-node/Chart.yaml": r"^(?:version|appVersion): (.+)$",
    "deploy/kustomization.yaml": r"newTag: (\d[\w.]+)",
    "deploy/wasm-node.yaml": _IMAGE,
    "deploy/uninstall/uninstall.yaml": _IMAGE,
    "docs/install.md": _REPORTED,
    "docs/labels-and-annotations.md": _REPORTED,
    "Dockerfile": r"^ARG VERSION=(.+)$",
    CHANGELOG: r"(?s)\A.*?\n## \[(.+?)\] - ",
}


def project(root: Path = CHECKOUT) -> str:
    """Return the version that the next release has."""
    return _one(root, "pyproject.toml", _QUOTED)


def row(root: Path = CHECKOUT) -> str:
    """Return this version's row of the table, made of what is pinned."""
    locked = {
        "native": _one(root, "agent/engine/Cargo.lock", r'^name = "wasmtime"\nversion = "(.+)"$'),
        "binding": _one(root, "requirements-image.lock", r"^wasmtime==(\S+)"),
    }
    protocol = _one(root, "agent/wasm_node/protocol/messages.py", r"^VERSION = (\d+)$")
    cells = (project(root), *locked.values(), _oldest(root), _newest(root), protocol)
    return f"| {' | '.join(cells)} |"


def complaints(root: Path = CHECKOUT) -> Iterator[str]:
    """Yield a sentence for each place that says another version."""
    wanted = project(root)
    for path, pattern in OURS.items():
        found = re.findall(pattern, (root / path).read_text(), re.MULTILINE)
        for version in dict.fromkeys(found) if found else ("no version",):
            if version != wanted:
                yield f"{path} says {version}, pyproject.toml {wanted}"
    if row(root) not in (root / PAGE).read_text():
        yield f"{PAGE} lacks the row {row(root)}"
    yield from _foreign(root)


def _foreign(root: Path) -> Iterator[str]:
    """Yield what is said wrongly of Kubernetes and of Rust."""
    minor = _oldest(root).rpartition(".")[0]
    chart = _one(root, "charts/wasm-node/Chart.yaml", r'^kubeVersion: "(.+)"$')
    if chart != f">={minor}.0-0":
        yield f"charts/wasm-node/Chart.yaml says kubeVersion {chart}, tested is {minor}"
    rust = _one(root, "agent/engine/Cargo.toml", r'^rust-version = "(.+)"$')
    image = _one(root, "Dockerfile", r"^ARG RUST_IMAGE=rust:([\d.]+)")
    if image != rust:
        yield f"Dockerfile builds with Rust {image}, agent/engine/Cargo.toml wants {rust}"


def _oldest(root: Path) -> str:
    return _one(root, "e2e/cluster/programs/kube/oldest.mod", r"k8s\.io/kubernetes v(\S+)")


def _newest(root: Path) -> str:
    return _one(root, "e2e/cluster/programs/kube/go.mod", r"k8s\.io/kubernetes v(\S+)")


def _one(root: Path, path: str, pattern: str) -> str:
    found = re.search(pattern, (root / path).read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"cannot find a version in {path}")
    return found[1]
