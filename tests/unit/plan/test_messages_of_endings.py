"""How much of what containers leave behind is in a pod's status."""

from typing import Any

import pytest

from wasm_node.agent.model import ids, observed, parsing
from wasm_node.agent.plan import status
from wasm_node.protocol import records

NOWHERE = status.Addresses("", "")


def _messages(message: str, count: int) -> list[str]:
    names = [f"c{number}" for number in range(count)]
    containers: list[dict[str, Any]] = [{"name": name, "image": "x"} for name in names]
    spec = {
        "containers": containers[1:],
        "initContainers": containers[:1],
        "restartPolicy": "Never",
    }
    pod = parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    how = records.ExitRecord(0, records.EndedBy.ITSELF, "Completed", message, 1, 2)
    seen = {
        name: observed.ObservedContainer(
            current=observed.Ended(records.AttemptId(ids.PodUid("u"), name, 0), how)
        )
        for name in names
    }
    made = status.status(pod, observed.ObservedPod(0.0, seen), NOWHERE, previous=(), now=3.0)
    told = (*made.init_container_statuses, *made.container_statuses)
    return [each.state.terminated.message for each in told if each.state.terminated]


@pytest.mark.parametrize(
    ("written", "containers", "told"),
    [
        ("x" * 6144, 2, "x" * 6144),
        ("x" * 6145, 2, "x" * 6144),
        ("x" * 6144, 3, "x" * 4096),
        ("x" + "ä" * 3000, 3, "x" + "ä" * 2047),
    ],
)
def test_twelve_kib_are_shared_out(written: str, containers: int, told: str) -> None:
    """As normalizeStatus (status_manager.go), init containers counted in."""
    assert _messages(written, containers) == [told] * containers
