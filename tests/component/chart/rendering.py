"""The chart as Helm renders it, and what is looked for in it."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import binaries

CHART = Path(__file__).parents[3] / "charts/wasm-node"
EVERYTHING: Mapping[str, Any] = {
    "networkPolicy": {"enabled": True},
    "metrics": {name: {"enabled": True} for name in ("podMonitor", "rules", "dashboard")},
}
"""Values with all that is off by default."""

Object = dict[str, Any]


def helm(*words: str | Path, values: Mapping[str, Any] | None = None) -> str:
    """
    Run helm and return what it printed.

    Raises:
        CalledProcessError: it refused; `stderr` says why.
    """
    command = [binaries.helm() / "helm", *words]
    if values is not None:
        command.append("--values=-")
    given = json.dumps(values or {})
    return subprocess.run(
        command, input=given, check=True, capture_output=True, text=True
    ).stdout  # fmt: skip


def rendered(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "wasm-node",
    namespace: str = "wasm-node",
) -> list[Object]:
    """Return all objects of a release, hooks too."""
    where = (f"--namespace={namespace}", f"--kube-version={binaries.kubernetes()}")
    text = helm("template", release, CHART, *where, values=values or {})
    return [each for each in yaml.safe_load_all(text) if each]


def one(objects: list[Object], kind: str, name: str) -> Object:
    """Return the only object of that kind and name."""
    (found,) = (
        each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the component and the pod spec of all that runs on Linux hosts."""
    for each in objects:
        if each["kind"] in {"DaemonSet", "Deployment", "Job"}:
            pod = each["spec"]["template"]
            yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod["spec"]
