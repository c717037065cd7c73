"""
A cluster of kind, and the chart installed on it by helm.

It is started once, for the tests of this folder. A test leaves the release
installed and its node Ready, whatever it did to it meanwhile.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from e2e import namespaces, watching
from e2e.cluster import ControlPlane, Guard, Registry, WasmNode, hosts, kindimage
from e2e.cluster import kind as cluster
from e2e.cluster.release import Release

_HERE = Path(__file__).parent
_TIMEOUT_S = 600  # two nodes boot and become a cluster
_RUN = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run; give the rest its time."""
    here = [item for item in items if item.path.is_relative_to(_HERE)]
    if hosts.cannot_run():
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]
    for item in here:
        item.add_marker(pytest.mark.long)
        item.add_marker(pytest.mark.timeout(_TIMEOUT_S), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, where no test's timeout is running."""
    wanted = any(item.path.is_relative_to(_HERE) for item in session.items)
    session.config.stash[_RUN] = wanted and not session.config.option.collectonly
    if session.config.stash[_RUN]:
        cluster.build()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what this tier ran on, or why it did not."""
    if terminalreporter.config.stash.get(_RUN, False):
        line = f"kind, two nodes of {kindimage.get().name}, the chart by helm"
    else:
        line = f"left out, as {hosts.cannot_run() or 'it takes minutes: make e2e-kind'}"
    terminalreporter.write_line(f"tier c: {line}")


@pytest.fixture(scope="session")
def kind(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Kind]:
    """Give a running cluster of a control plane and a worker."""
    bed = cluster.Kind.start(guard, tmp_path_factory.mktemp("tier-c") / "kind")
    yield bed
    bed.close()


@pytest.fixture(scope="session")
def release(kind: cluster.Kind) -> Release:
    """Give the installed chart, its node Ready."""
    made = Release(kind)
    made.install()
    return made


@pytest.fixture(scope="session")
def registry(kind: cluster.Kind) -> Registry:
    """Give the registry that the wasm node pulls from."""
    return kind.registry


@pytest.fixture(scope="session")
def bed(release: Release) -> Iterator[namespaces.Bed]:
    """Give the cluster, watched; nothing of it is a process of ours."""
    plane = release.hosts.plane
    with watching.PodWatcher(plane) as watcher:
        yield namespaces.Bed(cast("ControlPlane", plane), cast("WasmNode", None), watcher)
