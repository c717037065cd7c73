"""
What probes mean, case by case.

Sources are functions of Kubernetes 1.37's pkg/kubelet/prober, named at each
table; what follows for statuses and restarts is in tests/golden/pods.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.model import desired, observed, parsing, probe
from wasm_node.agent.plan import probes
from wasm_node.protocol import records

NOW = 1_800_000_000.0
STARTUP, READINESS, LIVENESS = probe.Kind.STARTUP, probe.Kind.READINESS, probe.Kind.LIVENESS
PASSED, FAILED, UNCLEAR = probe.Passed(), probe.Failed("no"), probe.Unclear("what")


def _pod(*kinds: probe.Kind, meta: dict[str, Any] | None = None, **told: Any) -> desired.DesiredPod:
    container = {"name": "main", "image": "x"}
    check = {"tcpSocket": {"port": 80}}
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u1", **(meta or {})},
            "spec": {"containers": [container | {f"{kind.lower()}Probe": check for kind in kinds}]},
            "status": told,
        }
    )


def _seen(
    verdicts: dict[probe.Kind, bool] | None = None, attempt: int = 0
) -> observed.ObservedContainer:
    running = observed.Running(records.AttemptId("u1", "main", attempt), 7, NOW - 30)
    return observed.ObservedContainer(current=running, verdicts=verdicts or {})


def _probe(success: int = 1, failure: int = 1) -> probe.Probe:
    check = probe.TcpSocket(80)
    return probe.Probe(READINESS, check, 5.0, 10.0, 1.0, success, failure, None)


def _verdicts(wanted: probe.Probe, outcomes: Sequence[probe.Outcome]) -> list[bool | None]:
    tally, found = probes.Tally(), []
    for outcome in outcomes:
        tally = tally.counted(outcome)
        found.append(tally.verdict(wanted))
    return found


@pytest.mark.parametrize(
    ("success", "failure", "outcomes", "verdicts"),
    [
        (1, 1, [PASSED, FAILED, PASSED], [True, False, True]),
        (1, 3, [FAILED, FAILED, FAILED, FAILED], [None, None, False, False]),
        (1, 3, [FAILED, FAILED, PASSED, FAILED], [None, None, True, None]),
        (2, 1, [PASSED, FAILED, PASSED, PASSED], [None, False, None, True]),
        (1, 2, [FAILED, UNCLEAR, FAILED], [None, None, False]),
        (1, 1, [UNCLEAR, UNCLEAR], [None, None]),
        (2, 2, [PASSED, FAILED, PASSED, FAILED], [None, None, None, None]),
    ],
)
def test_so_many_in_a_row_make_a_verdict(
    success: int, failure: int, outcomes: list[probe.Outcome], verdicts: list[bool | None]
) -> None:
    """Below its threshold a result changes nothing (worker.go doProbe)."""
    assert verdicts == _verdicts(_probe(success, failure), outcomes)


@given(
    outcomes=st.lists(st.sampled_from([PASSED, FAILED, UNCLEAR]), max_size=30),
    success=st.integers(1, 4),
    failure=st.integers(1, 4),
)
def test_a_verdict_is_what_the_last_results_say(
    outcomes: list[probe.Outcome], success: int, failure: int
) -> None:
    """It is the last clear results alone, as many as its threshold."""
    clear = [each for each in outcomes if each is not UNCLEAR]
    (verdict,) = _verdicts(_probe(success, failure), outcomes)[-1:] or [None]

    assert (verdict is True) == (len(clear) >= success and set(clear[-success:]) == {PASSED})
    assert (verdict is False) == (len(clear) >= failure and set(clear[-failure:]) == {FAILED})


@pytest.mark.parametrize(
    ("pod", "seen", "kinds"),
    [
        (_pod(READINESS, LIVENESS), _seen(), [READINESS, LIVENESS]),
        (_pod(STARTUP, READINESS, LIVENESS), _seen(), [STARTUP]),
        (_pod(STARTUP, READINESS, LIVENESS), _seen({STARTUP: False}), []),
        (_pod(STARTUP, READINESS, LIVENESS), _seen({STARTUP: True}), [READINESS, LIVENESS]),
        (_pod(READINESS, LIVENESS), _seen({LIVENESS: False}), [READINESS]),
        (_pod(READINESS, LIVENESS), _seen({READINESS: False}), [READINESS, LIVENESS]),
        (_pod(READINESS, LIVENESS), observed.ObservedContainer(), []),
        (_pod(READINESS, LIVENESS, phase="Failed"), _seen(), []),
        (
            _pod(READINESS, LIVENESS, meta={"deletionTimestamp": "2027-01-15T08:00:00Z"}),
            _seen(),
            [READINESS],
        ),
        (_pod(STARTUP, READINESS, meta={"deletionTimestamp": "2027-01-15T08:00:00Z"}), _seen(), []),
        (_pod(), _seen(), []),
    ],
)
def test_which_probes_apply(
    pod: desired.DesiredPod, seen: observed.ObservedContainer, kinds: list[probe.Kind]
) -> None:
    """Others wait for startup; a deletion leaves readiness (doProbe)."""
    assert kinds == [each.kind for each in probes.due(pod, pod.containers[0], seen)]


@pytest.mark.parametrize(
    ("attempt", "started", "kinds"),
    [(0, True, [READINESS]), (0, False, [STARTUP]), (1, True, [STARTUP])],
)
def test_an_earlier_agents_word_counts_for_its_attempt(
    attempt: int, started: bool, kinds: list[probe.Kind]
) -> None:
    """What has started is not asked again by a new agent; a new attempt is."""
    told = {"name": "main", "containerID": "wasmtime://u1/main/0", "started": started}
    pod = _pod(STARTUP, READINESS, containerStatuses=[told])

    assert kinds == [
        each.kind for each in probes.due(pod, pod.containers[0], _seen(attempt=attempt))
    ]


@pytest.mark.parametrize(("now", "wait_s"), [(0.0, 5.0), (2.0, 3.0), (5.0, 0.0), (99.0, 0.0)])
def test_the_first_waits_for_the_initial_delay(now: float, wait_s: float) -> None:
    """It counts from the container's start."""
    running = observed.Running(records.AttemptId("u1", "main", 0), 7, 100.0)

    assert wait_s == probes.first_wait(_probe(), running, now=100.0 + now)


@pytest.mark.parametrize(
    ("outcome", "reason", "message"),
    [
        (probe.Failed("HTTP probe failed with statuscode: 503"), "Unhealthy",
         "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        (probe.Passed("Probe terminated redirects, Response body: x"), "ProbeWarning",
         "Readiness probe warning: Probe terminated redirects, Response body: x"),
        (probe.Unclear('port "http" not found'), "Unhealthy",
         'Readiness probe errored and resulted in unknown state: port "http" not found'),
    ],
)  # fmt: skip
def test_what_a_person_reads(outcome: probe.Outcome, reason: str, message: str) -> None:
    """Events are the kubelet's word for word (prober.go probe)."""
    event = probes.event(_pod(READINESS).containers[0], _probe(), outcome)

    assert event is not None
    assert (reason, message, True, "main") == (
        event.reason, event.message, event.warning, event.container
    )  # fmt: skip


def test_nobody_is_told_of_what_passes() -> None:
    """A probe that passes makes no event."""
    assert probes.event(_pod(READINESS).containers[0], _probe(), PASSED) is None


def test_a_late_verdict_is_about_its_own_attempt() -> None:
    """One that comes after a restart does not touch the new attempt."""
    seen = _seen(attempt=1)
    late = records.AttemptId("u1", "main", 0)

    assert probes.judged(seen, late, LIVENESS, passing=False) == seen


@given(verdicts=st.dictionaries(st.sampled_from(probe.Kind), st.booleans()))
def test_ready_is_started(verdicts: dict[probe.Kind, bool]) -> None:
    """Whatever the verdicts, what is ready has started."""
    for kinds in itertools.product(*[[(), (kind,)] for kind in probe.Kind]):
        pod = _pod(*itertools.chain(*kinds))
        wanted, seen = pod.containers[0], _seen(verdicts)
        if probes.is_ready(wanted, seen, pod.status):
            assert probes.is_started(wanted, seen, pod.status)
