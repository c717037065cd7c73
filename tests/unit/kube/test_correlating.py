"""
What of a flood of events is told: the figures of client-go's correlator.

Their source is tools/record/events_cache.go: defaultAggregateMaxEvents,
defaultAggregateIntervalInSeconds, defaultSpamBurst, defaultSpamQPS.
"""

from collections.abc import Iterable

from wasm_node.agent.kube import correlating
from wasm_node.agent.model import actions, ids

WEB = ids.PodRef("default", "web", ids.pod_uid("u-1"))
OTHER = ids.PodRef("default", "other", ids.pod_uid("u-2"))
NOW = 1_800_000_000.0


def _event(text: str, reason: str = "Failed", **fields: object) -> actions.Event:
    return actions.Event(reason, text, warning=bool(fields.get("warning")), container="main")


def _told(
    made: correlating.Correlator,
    events: Iterable[actions.Event],
    pod: ids.PodRef = WEB,
    now: float = NOW,
) -> list[tuple[str, int]]:
    """Return the words of each that is told, with its count by then."""
    taken = (made.take(pod, each, now=now) for each in events)
    return [(each[0].message, each[1].count) for each in taken if each]


def test_repeats_are_one_series() -> None:
    """Counted from the first on, which keeps its time and its object."""
    made = correlating.Correlator()
    first = made.take(WEB, _event("a"), now=NOW)
    assert first is not None
    first[1].name = "web.1"
    again = made.take(WEB, _event("a"), now=NOW + 60)

    assert again is not None
    assert again[1] == correlating.Series(first=NOW, count=2, name="web.1")


def test_the_tenth_that_is_similar_is_combined_with_what_follows() -> None:
    """Within ten minutes; it has the words of the last, and one count."""
    made = correlating.Correlator()
    told = _told(made, [_event(str(number)) for number in range(12)])

    assert [(str(number), 1) for number in range(9)] == told[:9]
    combined = "(combined from similar events): "
    assert [(f"{combined}{9 + number}", 1 + number) for number in range(3)] == told[9:]


def test_similar_events_that_come_seldom_are_told_apart() -> None:
    """Ten minutes without one, and nothing is combined any more."""
    made = correlating.Correlator()
    _told(made, [_event(str(number)) for number in range(10)])

    assert [("(combined from similar events): b", 2)] == _told(made, [_event("b")], now=NOW + 600)
    assert [("c", 1)] == _told(made, [_event("c")], now=NOW + 1200.5)


def test_other_reasons_and_pods_are_not_similar() -> None:
    """Only what differs in its words alone is."""
    made = correlating.Correlator()
    _told(made, [_event(str(number)) for number in range(9)])

    assert [("x", 1), ("x", 1)] == _told(
        made, [_event("x", "Killing"), _event("x", "Failed", warning=True)]
    )
    assert [("x", 1)] == _told(made, [_event("x")], OTHER)


def test_a_pod_has_25_events_of_each_type_and_then_one_in_five_minutes() -> None:
    """What is not told is counted; other pods have their own."""
    made = correlating.Correlator()

    assert [("a", count + 1) for count in range(25)] == _told(made, [_event("a")] * 40)
    assert [("w", 1)] == _told(made, [_event("w", warning=True)])
    assert [("a", 1)] == _told(made, [_event("a")], OTHER)
    assert [] == _told(made, [_event("a")], now=NOW + 299)
    assert [("a", 42)] == _told(made, [_event("a")] * 2, now=NOW + 300)


def test_what_is_remembered_is_bounded() -> None:
    """Of pods beyond four thousand those not heard of for longest go first."""
    made = correlating.Correlator()
    _told(made, [_event("a")])
    for number in range(4095):
        _told(made, [_event("a")], ids.PodRef("default", "p", ids.pod_uid(f"v-{number}")))
    assert [("a", 2)] == _told(made, [_event("a")])
    _told(made, [_event("a")], OTHER)

    first = ids.PodRef("default", "p", ids.pod_uid("v-0"))
    assert [("a", 1)] == _told(made, [_event("a")], first)
    assert [("a", 3)] == _told(made, [_event("a")])


def test_a_clock_that_was_set_back_costs_nothing() -> None:
    """What a pod may still tell does not shrink with the time."""
    made = correlating.Correlator()
    _told(made, [_event("a")])

    assert len(_told(made, [_event("a")] * 30, now=NOW - 3600)) == 24
