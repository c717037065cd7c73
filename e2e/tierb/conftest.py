"""
Two hosts with real kubelets, and the chart installed on them by helm.

They are started once, for the tests of this folder. A test leaves the release
installed and its nodes Ready, whatever it did to them meanwhile.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from e2e import namespaces, watching
from e2e.cluster import ControlPlane, Guard, Registry, WasmNode
from e2e.cluster import hosts as cluster
from e2e.cluster.release import Release

_HERE = Path(__file__).parent
_TIMEOUT_S = 300  # a host that boots or pulls slowly takes its time


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run; give the rest its time."""
    here = [item for item in items if item.path.is_relative_to(_HERE)]
    if cluster.cannot_run():
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]
    for item in here:
        item.add_marker(pytest.mark.timeout(_TIMEOUT_S), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, where no test's timeout is running."""
    wanted = any(item.path.is_relative_to(_HERE) for item in session.items)
    if wanted and not session.config.option.collectonly:
        cluster.build()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what this tier ran on, or why it did not."""
    reason = cluster.cannot_run()
    terminalreporter.write_line(
        f"tier b: left out, as {reason}"
        if reason
        else "tier b: two hosts (kubelet, kube-proxy, containerd, runc), the chart by helm"
    )


@pytest.fixture(scope="session")
def hosts(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Hosts]:
    """Give a running cluster of two hosts."""
    bed = cluster.Hosts.start(guard, tmp_path_factory.mktemp("tier-b") / "hosts")
    yield bed
    bed.close()


@pytest.fixture(scope="session")
def release(hosts: cluster.Hosts) -> Release:
    """Give the installed chart, its nodes Ready."""
    made = Release(hosts)
    made.install()
    return made


@pytest.fixture(scope="session")
def plane(hosts: cluster.Hosts) -> ControlPlane:
    """Give the hosts' control plane."""
    return hosts.plane


@pytest.fixture(scope="session")
def registry(hosts: cluster.Hosts) -> Registry:
    """Give the hosts' registry."""
    return hosts.registry


@pytest.fixture(scope="session")
def bed(release: Release, plane: ControlPlane) -> Iterator[namespaces.Bed]:
    """Give the cluster, watched; its nodes are no processes of ours."""
    with watching.PodWatcher(plane) as watcher:
        yield namespaces.Bed(plane, cast("WasmNode", None), watcher)
