"""What every LogStore promises: the fake and the real one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.log_store import FakeLogStore
from wasm_node.agent import interfaces
from wasm_node.agent.logs.store import CriLogStore
from wasm_node.agent.model import ids

WEB = ids.PodRef("default", "web", ids.pod_uid("u-1"))
AGAIN = ids.PodRef("default", "web", ids.pod_uid("u-2"))

Made = tuple[interfaces.LogStore, Callable[[Path], bool]]
"""A store, and whether a directory is there, or a log that was written."""


@pytest.fixture(params=["fake", "real"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Give either."""
    if request.param == "fake":
        fake = FakeLogStore()
        return fake, fake.exists
    return CriLogStore(tmp_path), Path.exists


def test_each_attempt_has_a_log_of_its_own(made: Made) -> None:
    """Pods (by uid), containers and attempts never share a file."""
    store, _ = made
    paths = [
        store.path(pod, container, attempt)
        for pod in (WEB, AGAIN)
        for container in ("main", "side")
        for attempt in (0, 1, 10)
    ]

    assert len(set(paths)) == len(paths)
    assert all(each.is_absolute() for each in paths)


def test_asked_again_it_says_the_same(made: Made) -> None:
    """The path of an attempt never changes, and asking twice is fine."""
    store, exists = made
    first = store.path(WEB, "main", 3)

    assert store.path(WEB, "main", 3) == first
    assert exists(first.parent)


def test_removal_takes_this_pod_only(made: Made) -> None:
    """A removed pod's logs are gone; its namesake's are not."""
    store, exists = made
    gone, kept = store.path(WEB, "main", 0), store.path(AGAIN, "main", 0)
    store.remove(WEB)

    assert not exists(gone.parent)
    assert exists(kept.parent)


def test_removal_may_be_repeated(made: Made) -> None:
    """Removing twice, or what never was, is no error; a path comes back."""
    store, exists = made
    store.remove(WEB)
    log = store.path(WEB, "main", 0)
    store.remove(WEB)
    store.remove(WEB)

    assert not exists(log.parent)
    assert exists(store.path(WEB, "main", 0).parent)


def test_old_attempts_logs_can_be_let_go(made: Made) -> None:
    """Those before the one that is named; other containers keep theirs."""
    store, exists = made
    old, last, now = (store.path(WEB, "main", number) for number in (8, 9, 10))
    other = store.path(WEB, "side", 0)
    for log in (old, last, now, other):
        if log.parent.is_dir():
            log.touch()
    for _ in range(2):
        store.prune(WEB, "main", 9)
    store.prune(AGAIN, "main", 9)

    assert [False, True, True, True] == [exists(log) for log in (old, last, now, other)]


def test_it_says_what_logs_take(made: Made) -> None:
    """By container, directories included; of a pod without logs nothing."""
    store, _ = made
    for container in ("main", "side"):
        store.path(WEB, container, 0)
    used = store.used(WEB)

    assert used.keys() == {"main", "side"}
    assert all(each.inodes >= 1 for each in used.values())
    assert store.used(AGAIN) == {}
