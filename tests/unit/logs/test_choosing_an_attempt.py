"""Which attempt is shown, and the kubelet's words where there is none."""

import pytest

from wasm_node.agent import errors
from wasm_node.agent.logs import choosing
from wasm_node.agent.model import podstatus


def state(kind: str) -> podstatus.State:
    """Return a state: `-`, `running`, `ended N` or a reason for waiting."""
    if kind == "-":
        return podstatus.State()
    if kind == "running":
        return podstatus.State(running=podstatus.RunningState("2026-11-22T12:00:00Z"))
    if kind.startswith("ended"):
        return podstatus.State(
            terminated=podstatus.Terminated(
                exit_code=1,
                reason="Error",
                message="",
                started_at="",
                finished_at="",
                container_id=f"wasmtime://u-1/main/{kind.split()[1]}",
            )
        )
    return podstatus.State(waiting=podstatus.Waiting(kind))


def statuses(now: str, last: str, attempt: int) -> list[podstatus.ContainerStatus]:
    """Return the one container's status."""
    return [
        podstatus.ContainerStatus(
            name="main",
            image="i",
            image_id="",
            container_id=f"wasmtime://u-1/main/{attempt}",
            ready=False,
            started=False,
            restart_count=attempt,
            state=state(now),
            last_state=state(last),
        )
    ]


@pytest.mark.parametrize(
    ("now", "last", "attempt", "previous", "chosen"),
    [
        ("running", "-", 0, False, 0),
        ("running", "ended 2", 3, False, 3),
        ("running", "ended 2", 3, True, 2),
        ("ended 0", "-", 0, False, 0),
        ("ended 4", "ended 3", 4, False, 4),
        ("ended 4", "ended 3", 4, True, 3),
        ("CrashLoopBackOff", "ended 4", 4, False, 4),
        ("CrashLoopBackOff", "ended 4", 4, True, 4),
        ("ImagePullBackOff", "ended 12", 12, False, 12),
    ],
)
def test_chosen(now: str, last: str, attempt: int, previous: bool, chosen: int) -> None:
    """Present and previous mean what the reported status says."""
    found = choosing.choose_attempt("web", "main", statuses(now, last, attempt), previous=previous)

    assert chosen == found


@pytest.mark.parametrize(
    ("now", "previous", "words"),
    [
        (
            "ContainerCreating",
            False,
            'container "main" in pod "web" is waiting to start: ContainerCreating',
        ),
        (
            "ErrImagePull",
            False,
            'container "main" in pod "web" is waiting to start: image can\'t be pulled',
        ),
        (
            "ImagePullBackOff",
            False,
            'container "main" in pod "web" is waiting to start: trying and failing to pull image',
        ),
        ("-", False, 'container "main" in pod "web" is waiting to start - no logs yet'),
        ("running", True, 'previous terminated container "main" in pod "web" not found'),
        ("ContainerCreating", True, 'previous terminated container "main" in pod "web" not found'),
    ],
)
def test_refused(now: str, previous: bool, words: str) -> None:
    """Where there is no such attempt, the kubelet's own words say so."""
    with pytest.raises(errors.BadInput) as caught:
        choosing.choose_attempt("web", "main", statuses(now, "-", 0), previous=previous)

    assert words == str(caught.value)


def test_unknown_container() -> None:
    """A container that the pod does not have is not found, by name."""
    with pytest.raises(errors.NotFound, match='container "side" not found in pod "web"'):
        choosing.choose_attempt("web", "side", statuses("running", "-", 0), previous=False)
