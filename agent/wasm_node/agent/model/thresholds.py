"""
From when on the node is under pressure: thresholds, as settings give them.

Names, forms and rules are the kubelet's (pkg/kubelet/eviction/api/types.go and
ParseThresholdConfig in helpers.go). Two things differ: a signal that is not
named keeps its default, as with the kubelet's mergeDefaultEvictionSettings;
and there is no imagefs, as images lie on the file system of the state
directory, which is nodefs.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping

from wasm_node.agent.model import durations, quantity


class Signal(enum.StrEnum):
    """What is watched; more of it is better."""

    MEMORY = "memory.available"
    DISK = "nodefs.available"
    INODES = "nodefs.inodesFree"
    PIDS = "pid.available"

    @property
    def resource(self) -> str:
        """What it is of, as it stands in messages (signalToResource)."""
        return _RESOURCES[self]

    @property
    def condition(self) -> str:
        """The node's condition that says so (signalToNodeCondition)."""
        return _CONDITIONS[self]


_RESOURCES = {
    Signal.MEMORY: "memory",
    Signal.DISK: "ephemeral-storage",
    Signal.INODES: "inodes",
    Signal.PIDS: "pids",
}
_CONDITIONS = {
    Signal.MEMORY: "MemoryPressure",
    Signal.DISK: "DiskPressure",
    Signal.INODES: "DiskPressure",
    Signal.PIDS: "PIDPressure",
}
CONDITIONS = tuple(dict.fromkeys(_CONDITIONS.values()))
_OFF = ("0%", "100%")
_WHOLE = 100

Given = Mapping[str, str | int]
"""As settings give it: by signal."""

DEFAULT_HARD: Mapping[str, str | int] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "pid.available": "10%",
}
"""DefaultEvictionHard of defaults_linux.go, and one for pids."""


@dataclasses.dataclass(frozen=True)
class Amount:
    """So much, or a part of all there is (`fraction`, where it is not 0)."""

    fixed: int = 0
    fraction: float = 0.0

    def of(self, capacity: int) -> int:
        """Return how much that is."""
        return int(capacity * self.fraction) if self.fraction else self.fixed


@dataclasses.dataclass(frozen=True)
class Threshold:
    """
    Pressure begins where less than `value` is left.

    Attributes:
        signal: of what.
        value: how much.
        grace_s: how long before a pod is evicted for it; 0: at once (hard).
        reclaim: how much more there has to be before it is over.
    """

    signal: Signal
    value: Amount
    grace_s: float = 0.0
    reclaim: Amount = Amount()

    @property
    def hard(self) -> bool:
        """Whether there is no time to lose (isHardEvictionThreshold)."""
        return self.grace_s == 0


@dataclasses.dataclass(frozen=True)
class Rules:
    """
    All that was set.

    Attributes:
        thresholds: hard ones first.
        most_pod_grace_s: of a pod that is evicted for a soft threshold.
        transition_s: how long a condition is told after it was last true.
    """

    thresholds: tuple[Threshold, ...] = ()
    most_pod_grace_s: float = 0.0
    transition_s: float = 300.0

    def reserved(self, signal: Signal, capacity: int) -> int:
        """Return what pods cannot have without being evicted for it at once."""
        found = (x.value.of(capacity) for x in self.thresholds if x.signal is signal and x.hard)
        return max(found, default=0)


OFF = Rules()
"""Nothing is watched."""


def parse(
    hard: Given, soft: Given, soft_graces: Mapping[str, str], reclaims: Given
) -> tuple[Threshold, ...]:
    """
    Return the thresholds of settings that `wrong` has nothing to say of.

    `hard` is on top of the defaults.
    """
    least = {Signal(name): _amount(value) or Amount() for name, value in reclaims.items()}
    made = []
    for given, graces in (({**DEFAULT_HARD, **hard}, {}), (soft, soft_graces)):
        for name, value in given.items():
            signal, amount = Signal(name), _amount(value)
            if amount is not None:
                grace_s = durations.parse(graces[name]) if graces else 0.0
                reclaim = least.get(signal, Amount())
                made.append(Threshold(signal, amount, grace_s, reclaim))
    return tuple(made)


def wrong(
    hard: Given, soft: Given, soft_graces: Mapping[str, str], reclaims: Given
) -> Iterator[str]:
    """Say what is not allowed, and what is; by the settings' own names."""
    for setting, given in (
        ("evictionHard", hard),
        ("evictionSoft", soft),
        ("evictionMinimumReclaim", reclaims),
    ):
        for name, value in given.items():
            yield from _wrong_name(setting, name)
            try:
                _amount(value)
            except ValueError as error:
                yield f"{setting}.{name} is {value!r}: {error}"
    for name in soft:
        if name not in soft_graces:
            yield f"evictionSoftGracePeriod.{name} is missing: evictionSoft has {name}"
    for name, text in soft_graces.items():
        yield from _wrong_name("evictionSoftGracePeriod", name)
        if name not in soft:
            yield f"evictionSoftGracePeriod.{name}: evictionSoft has no {name}"
        try:
            durations.parse(text)
        except ValueError as error:
            yield f"evictionSoftGracePeriod.{name}: {error}"


def _wrong_name(setting: str, name: str) -> Iterator[str]:
    if name in tuple(Signal):
        return
    known = f"use one of {', '.join(Signal)}"
    if name.startswith(("imagefs.", "containerfs.")):
        known += "; images and containers lie on nodefs"
    yield f"{setting}: there is no signal {name}: {known}"


def _amount(value: str | int) -> Amount | None:
    """
    Read an amount; None: it is off, as parseThresholdStatement has it.

    Raises:
        ValueError: it is none, or none that could be reached.
    """
    if value in _OFF:
        return None
    text = str(value)
    if text.endswith("%"):
        try:
            percent = float(text.removesuffix("%"))
        except ValueError:
            percent = -1.0
        if not 0 < percent < _WHOLE:
            raise ValueError("use 0% to 100%; these two are off")
        return Amount(fraction=percent / _WHOLE)
    amount = quantity.ceiling(text)
    if amount <= 0:
        raise ValueError("use more than 0; 0% is off")
    return Amount(fixed=amount)
