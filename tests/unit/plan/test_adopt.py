"""Facts into observed containers."""

import dataclasses
from pathlib import Path

from wasm_node.agent.model import ids, image, observed, probe
from wasm_node.agent.plan import adopt
from wasm_node.protocol import records

_STARTUP = probe.Kind.STARTUP
_IMAGE = observed.ImageHere(
    "r/x@sha256:1",
    image.Program(Path("/x"), ids.Digest("sha256:1"), image.Kind.MODULE, ("x",)),
    image.Image("x", "r/x@sha256:1", "A", 1, Path("/x"), ids.Digest("sha256:1"), None),
)


def _running(attempt: int) -> observed.Running:
    return observed.Running(records.AttemptId("u1", "main", attempt), 7, 100.0)


def _ended(attempt: int) -> observed.Ended:
    record = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", 1, 2)
    return observed.Ended(records.AttemptId("u1", "main", attempt), record)


def test_an_end_is_final() -> None:
    """A late word that an attempt runs does not bring it back."""
    after = adopt.apply(observed.ObservedContainer(current=_ended(0)), _running(0))

    assert _ended(0) == after.current


def test_an_end_becomes_one_of_the_past() -> None:
    """Once its runtime is no more; how it ended stays, whatever comes late."""
    past = dataclasses.replace(_ended(0), earlier=True)
    after = adopt.apply(observed.ObservedContainer(current=_ended(0)), past)

    assert after.current == past
    assert adopt.apply(after, _ended(0)) == adopt.apply(after, _running(0)) == after


def test_the_end_before_becomes_last() -> None:
    """A new attempt keeps the ending of the one before it."""
    after = adopt.apply(observed.ObservedContainer(current=_ended(0)), _running(1))

    assert (_running(1), _ended(0)) == (after.current, after.last)


def test_a_late_end_of_the_attempt_before_becomes_last() -> None:
    """An ending that arrives after the next start is not lost."""
    after = adopt.apply(observed.ObservedContainer(current=_running(1)), _ended(0))

    assert (_running(1), _ended(0)) == (after.current, after.last)


def test_news_of_older_attempts_changes_nothing() -> None:
    """Only the ending just before the newest attempt is `lastState`."""
    before = observed.ObservedContainer(current=_running(2), last=_ended(1))

    assert before == adopt.apply(before, _ended(0))
    assert before == adopt.apply(before, _running(1))


def test_a_list_without_a_running_attempt_ends_it_as_unknown() -> None:
    """
    What ran and is not on a full list has ended, nobody knows how.

    Code and reason are the kubelet's (convertToAPIContainerStatuses).
    """
    before = observed.ObservedPod(50.0, {"main": observed.ObservedContainer(current=_running(0))})

    after = adopt.whole(before, [], now=200.0).container("main").current

    assert after == observed.Ended(
        _running(0).id,
        records.ExitRecord(
            code=137,
            ended_by=records.EndedBy.UNKNOWN,
            reason="ContainerStatusUnknown",
            message="the container could not be located when the runtime was asked what runs",
            started_at_ns=100 * 10**9,
            finished_at_ns=200 * 10**9,
        ),
        earlier=True,
    )


def test_a_list_with_it_changes_nothing() -> None:
    """Adoption of a running attempt leaves it as it is."""
    before = observed.ObservedPod(50.0, {"main": observed.ObservedContainer(current=_running(0))})

    assert before == adopt.whole(before, [_running(0)], now=200.0)


def test_after_a_start_the_image_is_fetched_anew() -> None:
    """The next attempt asks for its image again, as its pull policy says."""
    failing = observed.Failing("ErrImagePull", "m", 1, 1.0)
    before = observed.ObservedContainer(failing=failing, image=_IMAGE, verdicts={_STARTUP: True})

    after = adopt.started(before, _running(0))

    assert observed.ObservedContainer(current=_running(0)) == after


def test_resets_are_known_of_the_last_two_attempts() -> None:
    """Of the newest, which may still run, and of that in `lastState`."""
    pod = observed.ObservedPod(started_at=0.0)
    found = []
    for attempt in (0, 0, 1, 4):
        pod = adopt.reset(pod, [records.AttemptId("u1", "main", attempt)])
        found.append(pod.container("main").resets)

    assert found == [(0,), (0,), (0, 1), (1, 4)]
