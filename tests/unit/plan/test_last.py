"""What is left to say of a pod that somebody else has put in its last phase."""

import pytest

from wasm_node.agent.model import desired, observed, parsing
from wasm_node.agent.plan import last
from wasm_node.protocol import records


def _pod(**ready: str) -> desired.DesiredPod:
    conditions = [{"type": name, "status": status} for name, status in ready.items()]
    containers = [{"name": name, "image": "x"} for name in ("a", "b")]
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u"},
            "spec": {"containers": containers},
            "status": {"phase": "Failed", "conditions": conditions},
        }
    )


def _id(name: str) -> records.AttemptId:
    return records.AttemptId("u", name, 0)


def _seen(*facts: observed.Fact) -> observed.ObservedPod:
    return observed.ObservedPod(
        1.0, {each.id.container: observed.ObservedContainer(current=each) for each in facts}
    )


RUNNING = observed.Running(_id("a"), 7, 1.0)
HOW = records.ExitRecord(0, records.EndedBy.ITSELF, "Completed", "", 1, 2)
ENDED = observed.Ended(_id("b"), HOW)


@pytest.mark.parametrize(
    ("ready", "untold"),
    [
        ({"Ready": "True", "ContainersReady": "True"}, True),
        ({"Ready": "False", "ContainersReady": "True"}, True),
        ({"Ready": "True", "ContainersReady": "False"}, True),
        ({"Ready": "False", "ContainersReady": "False", "PodScheduled": "True"}, False),
    ],
)
def test_one_that_still_runs_is_not_ready(ready: dict[str, str], *, untold: bool) -> None:
    """As mergePodStatus: neither of the two may be true in a terminal phase."""
    assert last.is_untold(_pod(**ready), _seen(RUNNING)) is untold


def test_it_is_over_when_nothing_runs() -> None:
    """Each of its containers, whatever became of the others."""
    assert not last.is_over(_pod(), _seen(RUNNING, ENDED))
    assert last.is_over(_pod(), _seen(ENDED))
