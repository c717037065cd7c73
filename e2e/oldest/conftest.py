"""
A cluster of the oldest Kubernetes that the chart supports, with a wasm node.

The node is the same as everywhere; API server, controllers, scheduler, etcd
and kubectl are of that release.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import namespaces, watching
from e2e.cluster import ControlPlane, Guard, WasmNode, binaries

_HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, where no test's timeout is running."""
    wanted = any(item.path.is_relative_to(_HERE) for item in session.items)
    if wanted and not session.config.option.collectonly:
        binaries.program("kube-apiserver", oldest=True)


@pytest.fixture(scope="session")
def plane(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """Give a running control plane of the oldest Kubernetes."""
    directory = tmp_path_factory.mktemp("oldest") / "plane"
    return ControlPlane.start(guard, directory, audited=True, oldest=True)


@pytest.fixture(scope="session")
def bed(
    guard: Guard, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[namespaces.Bed]:
    """Give that cluster with a wasm node, watched."""
    node = WasmNode.start(guard, tmp_path_factory.mktemp("old-node") / "a", plane)
    with watching.PodWatcher(plane) as watcher:
        yield namespaces.Bed(plane, node, watcher)
