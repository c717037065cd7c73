"""Thresholds, durations and amounts in Kubernetes' own forms."""

import pytest

from wasm_node.agent.model import durations, quantity, thresholds
from wasm_node.agent.model.thresholds import Amount, Signal


def test_the_defaults_are_the_kubelets() -> None:
    """100Mi of memory, a tenth of the disk, a twentieth of its inodes; pids."""
    made = {each.signal: each.value for each in thresholds.parse({}, {}, {}, {})}

    assert made == {
        Signal.MEMORY: Amount(fixed=100 << 20),
        Signal.DISK: Amount(fraction=0.1),
        Signal.INODES: Amount(fraction=0.05),
        Signal.PIDS: Amount(fraction=0.1),
    }


def test_what_is_named_replaces_its_default_only() -> None:
    """0% and 100% are off, as the kubelet has them."""
    hard: thresholds.Given = {"memory.available": "1.5Gi", "nodefs.available": "0%"}
    made = thresholds.parse(hard, {"pid.available": 500}, {"pid.available": "1m30s"}, {})
    found = {(each.signal, each.hard): each for each in made}

    assert found[Signal.MEMORY, True].value.of(1) == 3 << 29
    assert (Signal.DISK, True) not in found
    assert (Signal.INODES, True) in found
    soft = found[Signal.PIDS, False]
    assert (soft.value.of(10_000), soft.grace_s) == (500, 90.0)


def test_a_soft_one_without_grace_is_hard() -> None:
    """It has no time to lose, either (isHardEvictionThreshold)."""
    soft = thresholds.parse({}, {"memory.available": "1Gi"}, {"memory.available": "0s"}, {})[-1]

    assert soft.hard


def test_what_is_reserved_is_the_hard_ones() -> None:
    """Soft ones may be reached by pods that stay within their requests."""
    rules = thresholds.Rules(
        thresholds.parse({}, {"memory.available": "1Gi"}, {"memory.available": "5s"}, {})
    )

    assert rules.reserved(Signal.MEMORY, 1 << 34) == 100 << 20
    assert thresholds.OFF.reserved(Signal.MEMORY, 1 << 34) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1m30s", 90), ("5m", 300), ("1h0m1s", 3601), ("1.5h", 5400), ("250ms", 0.25),
     ("0", 0), ("5m0s", 300)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    """As Go reads them."""
    assert durations.parse(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0432, "43ms"), (0.9999, "999ms"), (1, "1s"), (1.5, "1.5s"), (10, "10s"),
     (61.001, "1m1.001s"), (300, "5m0s"), (3601, "1h0m1s"), (90000, "25h0m0s")],
)  # fmt: skip
def test_durations_are_shown_as_go_does(seconds: float, text: str) -> None:
    """Duration.String, of what was cut to whole milliseconds."""
    assert durations.shown(seconds) == text


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "-5m", "1d", "5m s", "1m-2s"])
def test_what_is_no_duration(text: str) -> None:
    """The text says what is."""
    with pytest.raises(ValueError, match="use a form like 90s, 1m30s or 5m"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("amount", "binary", "plain"),
    [(0, "0", "0"), (1, "1", "1"), (1024, "1Ki", "1024"), (100 << 20, "100Mi", "104857600"),
     (5000, "5000", "5k"), (3 << 60, "3Ei", "3458764513820540928"), (10**6, "1000000", "1M")],
)  # fmt: skip
def test_amounts_are_written_as_kubernetes_does(amount: int, binary: str, plain: str) -> None:
    """The largest unit that leaves a whole number."""
    assert (quantity.binary(amount), quantity.plain(amount)) == (binary, plain)
