"""On the node itself: `wasm-node ps`, `logs`, `stop`, no API server needed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e import pods
from e2e.cluster import WasmNode, processes
from e2e.namespaces import Bed, Namespace

Images = Callable[[str], str]


@pytest.fixture
def alone(
    breakable: Bed, breakable_namespace: Namespace, images: Images
) -> Iterator[tuple[WasmNode, Namespace]]:
    """Give a node with one pod, its API server away for the test's length."""
    breakable_namespace.apply(pods.pod("here", images("count"), 50, restart="Always"))
    breakable_namespace.wait_running("here")
    breakable.plane.stop_apiserver()
    try:
        yield breakable.node, breakable_namespace
    finally:
        if not breakable.plane.apiserver.running:
            breakable.plane.start_apiserver()


def test_the_node_can_be_looked_at_alone(alone: tuple[WasmNode, Namespace]) -> None:
    """A pod is seen by ps, read by logs and ended by stop."""
    node, namespace = alone
    directories = node.flags()
    before = processes.workers(1, node)

    table = _run("ps", *directories)
    log = _run("logs", *directories[:2], f"--log-dir={node.logs}", f"-n={namespace.name}", "here")
    said = _run("stop", *directories, f"{namespace.name}/here")

    headings, *rows = (line.split() for line in table.splitlines())
    lines = log.splitlines()
    assert headings == ["POD", "NAMESPACE", "CONTAINER", "ATTEMPT", "STATE", "FOR", "PID"]
    assert [row[:5] for row in rows] == [["here", namespace.name, "main", "0", "Running"]]
    assert {int(row[-1]) for row in rows} == before
    assert lines == [f"n {number}" for number in range(len(lines))]
    assert said == f"{namespace.name}/here/main: stop, 143\n"


def test_a_stop_on_the_node_is_reported_later(
    alone: tuple[WasmNode, Namespace], breakable: Bed
) -> None:
    """What happened while the API server was away is in the pod's status."""
    node, namespace = alone
    _run("stop", *node.flags(), f"{namespace.name}/here")
    breakable.plane.start_apiserver()

    seen = namespace.wait(
        "here", "a restart", lambda seen: pods.status(seen.pod).get("restartCount") == 1
    )

    assert pods.status(seen.pod)["lastState"]["terminated"]["exitCode"] == 143


def _run(*words: str) -> str:
    command = Path(sys.executable).parent / "wasm-node"
    return subprocess.run([command, *words], capture_output=True, text=True, check=True).stdout
