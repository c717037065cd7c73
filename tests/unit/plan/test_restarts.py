"""Waits before the next try, to the second."""

from pathlib import Path

import pytest

from wasm_node.agent.model import desired, ids, image, observed, parsing
from wasm_node.agent.plan import restarts
from wasm_node.protocol import records

NOW = 1_800_000_000.0
_IMAGE = observed.ImageHere(
    "r/x@sha256:1",
    image.Program(Path("/x"), ids.Digest("sha256:1"), image.Kind.MODULE, ("x",)),
    image.Image("x", "r/x@sha256:1", "A", 1, Path("/x"), ids.Digest("sha256:1"), None),
)


def _wanted() -> desired.DesiredContainer:
    spec = {"containers": [{"name": "main", "image": "x"}], "restartPolicy": "Always"}
    return parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": spec}).container("main")


def _ended(ran_s: float, *, until: float = NOW) -> observed.Ended:
    began, over = int((until - ran_s) * 1e9), int(until * 1e9)
    how = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", began, over)
    return observed.Ended(records.AttemptId("u", "main", 3), how)


def test_failures_to_begin_are_tried_ever_later() -> None:
    """Ten seconds, doubled each time, five minutes at most."""
    seen, waits = observed.ObservedContainer(image=_IMAGE), []
    for failures in range(1, 8):
        seen = restarts.failed(seen, "ErrImagePull", "why", now=NOW)
        assert seen.failing is not None
        assert (seen.failing.reason, seen.failing.failures) == ("ErrImagePull", failures)
        assert (seen.failing.message, seen.image) == ("why", None)
        waits.append(seen.failing.retry_at - NOW)

    assert waits == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


@pytest.mark.parametrize(
    ("ran_s", "at", "backoff_s"), [(600.0, NOW + 40.0, 80.0), (601.0, 0.0, 10.0)]
)
def test_ten_minutes_begin_the_series_anew(ran_s: float, at: float, backoff_s: float) -> None:
    """What ran for longer is started at once; ten minutes are not longer."""
    seen = observed.ObservedContainer(current=_ended(ran_s), backoff_s=40.0)

    assert restarts.next_start(_wanted(), seen) == restarts.Start(4, at, backoff_s)


def test_the_first_restart_is_at_once() -> None:
    """The one after it waits ten seconds."""
    seen = observed.ObservedContainer(current=_ended(5.0))

    assert restarts.next_start(_wanted(), seen) == restarts.Start(4, 0.0, 10.0)


def test_what_is_done_once_more_is_at_once() -> None:
    """It has not failed, whatever it waited before."""
    seen = observed.ObservedContainer(current=_ended(5.0), backoff_s=40.0)

    assert restarts.next_start(_wanted(), seen, again=True) == restarts.Start(4, 0.0, 10.0)


@pytest.mark.parametrize(
    ("last_ended", "ran_s", "backoff_s", "wait_s", "next_s"),
    [
        (None, 5.0, 0.0, 0.0, 0.0),
        (5.0, 5.0, 0.0, 0.0, 10.0),
        (9.0, 9.0, 10.0, 10.0, 20.0),
        (10.0, 10.0, 10.0, 0.0, 20.0),
        (25.0, 5.0, 20.0, 0.0, 40.0),
        (19.0, 5.0, 20.0, 20.0, 40.0),
        (601.0, 601.0, 300.0, 0.0, 10.0),
    ],
)
def test_what_makes_way(
    last_ended: float | None, ran_s: float, backoff_s: float, wait_s: float, next_s: float
) -> None:
    """What counts is the end before its own, unless that was just now."""
    last = None if last_ended is None else _ended(1.0, until=NOW - last_ended)
    seen = observed.ObservedContainer(_ended(ran_s), last, backoff_s, replaced=3)

    at = NOW + wait_s if wait_s else 0.0
    assert restarts.next_start(_wanted(), seen) == restarts.Start(4, at, next_s)


def test_the_first_attempt() -> None:
    """It has no number before it, and nothing to wait for."""
    assert restarts.next_start(_wanted(), observed.ObservedContainer()) == restarts.Start(
        0, 0.0, 0.0
    )
