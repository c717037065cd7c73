"""What is left to say of a pod that somebody else has put in its last phase."""

from typing import Any

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


_WAITING = {"waiting": {"reason": "ContainerCreating"}}
_OVER = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
_AT = "2026-01-01T00:00:00Z"


def _told(status: dict[str, Any], *inits: str) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u"},
            "spec": {
                "initContainers": [{"name": name, "image": "x"} for name in inits],
                "containers": [{"name": name, "image": "x"} for name in ("a", "b")],
            },
            "status": {"phase": "Failed", **status},
        }
    )


def _says(**states: Any) -> list[dict[str, Any]]:
    return [{"name": name, "state": state} for name, state in states.items()]


@pytest.mark.parametrize(
    ("status", "untold"),
    [
        ({}, True),
        ({"containerStatuses": _says(a=_WAITING, b=_WAITING), "startTime": _AT}, True),
        ({"containerStatuses": _says(a=_OVER, b=_WAITING)}, True),
        ({"containerStatuses": _says(a=_OVER, b=_OVER)}, False),
        ({"containerStatuses": _says(a=_OVER)}, True),
        ({"containerStatuses": [{"name": x, "containerID": "y"} for x in "ab"]}, False),
        ({"startTime": _AT}, False),
    ],
)
def test_what_never_began_waits_for_nothing_any_more(
    status: dict[str, Any], *, untold: bool
) -> None:
    """TerminatePod; of one that was rejected no container was ever told."""
    assert last.is_untold(_told(status), _seen()) is untold


def test_of_one_that_is_rejected_nothing_is_left_to_say() -> None:
    """As rejectPod, which tells the kubelet's status manager alone."""
    seen = observed.ObservedPod(1.0, rejected=observed.Rejected("OutOfpods", "m"))

    assert not last.is_untold(_told({}), seen)


@pytest.mark.parametrize(
    ("told", "begun", "untold"),
    [
        (_says(i=_WAITING, j=_WAITING), (), True),
        (_says(i=_OVER, j=_WAITING), (), False),
        (_says(i=_WAITING, j=_WAITING), ("i",), False),
        (_says(i=_WAITING, j=_OVER), ("j",), True),
        (_says(i=_OVER, j=_OVER), ("j",), False),
        (_says(i=_OVER, j=_WAITING, k=_OVER), ("i", "k"), True),
    ],
)
def test_of_init_containers_those_have_ended_that_were_reached(
    told: list[dict[str, Any]], begun: tuple[str, ...], *, untold: bool
) -> None:
    """The first at least (initializedContainers); others wait for ever."""
    for each in told:
        each["containerID"] = f"wasmtime://u/{each['name']}/0" if each["name"] in begun else ""
        if each["name"] in begun:
            each["state"] = _OVER
    failed = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", 1, 2)
    seen = _seen(*(observed.Ended(_id(name), failed) for name in begun))
    others = _says(a=_WAITING, b=_WAITING)
    pod = _told(
        {"initContainerStatuses": told, "containerStatuses": others},
        *(each["name"] for each in told),
    )

    assert last.is_untold(pod, seen) is untold


def test_what_runs_is_waited_for() -> None:
    """Nothing is said of the others before it has ended."""
    pod = _told({"containerStatuses": _says(b=_WAITING)})

    assert not last.is_untold(pod, _seen(RUNNING))


def test_it_is_over_when_nothing_runs() -> None:
    """Each of its containers, whatever became of the others."""
    assert not last.is_over(_pod(), _seen(RUNNING, ENDED))
    assert last.is_over(_pod(), _seen(ENDED))
