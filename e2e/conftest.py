"""
The real cluster that the end-to-end tests share.

One control plane and one registry for the whole run, as both start in seconds
and hold any number of tests apart by namespaces and repositories. A test that
needs a cluster of its own starts one with `ControlPlane.start`.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e import documents, namespaces, watching
from e2e import health as healthy
from e2e import images as oci
from e2e.cluster import ControlPlane, Guard, Registry, WasmNode, binaries
from tests.component.http import programs
from tests.wasm import guests

_HERE = Path(__file__).parent
_TIMEOUT_S = 120  # a real cluster's steps take seconds each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here the time that a real cluster takes."""
    for item in items:
        if item.path.is_relative_to(_HERE) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, where no test's timeout is running."""
    wanted = any(item.path.is_relative_to(_HERE) for item in session.items)
    if wanted and not session.config.option.collectonly:
        binaries.build()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of what the documentation says was typed."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    recorded = [each for report in reports for each in report.user_properties]
    if any(name == documents.RUN for name, _ in recorded):
        terminalreporter.section("documentation")
        terminalreporter.write_line(documents.summary(recorded, _HERE.parent))


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Give what every process of this run ends with."""
    with Guard.start() as guard:
        yield guard


@pytest.fixture(scope="session")
def short_paths() -> Iterator[Path]:
    """
    Give a directory with a short path, as sockets lie below it.

    It outlives its tests: what reads a kubeconfig keeps files for later.
    """
    with tempfile.TemporaryDirectory(prefix="wn-", ignore_cleanup_errors=True) as root:
        yield Path(root)


@pytest.fixture
def short_path(short_paths: Path) -> Path:
    """Give a new directory with a short path."""
    return Path(tempfile.mkdtemp(dir=short_paths))


@pytest.fixture(scope="session")
def plane(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """Give a running control plane."""
    return ControlPlane.start(guard, tmp_path_factory.mktemp("cluster") / "plane", audited=True)


@pytest.fixture(scope="session")
def registry(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Give a running registry."""
    return Registry.start(guard, tmp_path_factory.mktemp("images") / "registry")


@pytest.fixture(scope="session")
def node(guard: Guard, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> WasmNode:
    """Give the wasm node of the shared cluster."""
    return WasmNode.start(guard, tmp_path_factory.mktemp("node") / "a", plane)


@pytest.fixture(scope="session")
def bed(plane: ControlPlane, node: WasmNode) -> Iterator[namespaces.Bed]:
    """Give the shared cluster with its node, watched."""
    with watching.PodWatcher(plane) as watcher:
        yield namespaces.Bed(plane, node, watcher)


@pytest.fixture
def namespace(bed: namespaces.Bed) -> Iterator[namespaces.Namespace]:
    """Give an empty namespace of the shared cluster."""
    with bed.namespace() as made:
        yield made


@pytest.fixture(scope="session")
def breakable(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[namespaces.Bed]:
    """Give a second cluster, for tests that kill and restart parts of it."""
    directory = tmp_path_factory.mktemp("breakable")
    plane = ControlPlane.start(guard, directory / "plane")
    # No test needs so long; whoever waits for it in vain is found out.
    limits = ["--shutdown-grace-period-by-pod-priority=0=600,2000000000=2"]
    node = WasmNode.start(guard, directory / "b", plane, "wasm-b", limits=limits)
    with watching.PodWatcher(plane) as watcher:
        yield namespaces.Bed(plane, node, watcher)


@pytest.fixture
def breakable_namespace(breakable: namespaces.Bed) -> Iterator[namespaces.Namespace]:
    """Give an empty namespace of the cluster that may be broken."""
    with breakable.namespace() as made:
        yield made


@pytest.fixture(scope="session")
def images(registry: Registry) -> Callable[[str], str]:
    """Give what pushes a guest and returns its reference."""

    @functools.cache
    def push(guest: str) -> str:
        module = guests.path(guest).read_bytes()
        return oci.push_artifact(registry.address, f"guests/{guest}", module).reference

    return push


@pytest.fixture(scope="session")
def web(registry: Registry) -> str:
    """Give the reference of a component that serves HTTP."""
    module = programs.component().read_bytes()
    return oci.push_artifact(registry.address, "guests/web", module, layout="B").reference


@pytest.fixture(scope="session")
def service(registry: Registry) -> str:
    """Give the reference of a component of WASI 0.3 that serves HTTP."""
    module = programs.service().read_bytes()
    return oci.push_artifact(registry.address, "guests/service", module, layout="B").reference


@pytest.fixture(scope="session")
def cgi(registry: Registry) -> str:
    """Give the reference of a module that serves by CGI."""
    module = programs.module().read_bytes()
    return oci.push_artifact(registry.address, "guests/cgi", module).reference


@pytest.fixture
def health() -> Iterator[healthy.Health]:
    """Give a server that is healthy until told otherwise."""
    with healthy.running() as made:
        yield made


@pytest.fixture
def port(guard: Guard) -> int:
    """Give a port that nobody else serves on."""
    return guard.claim_port()
