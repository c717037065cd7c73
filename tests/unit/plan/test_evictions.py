"""When pods are evicted and which: the kubelet's rules, as tables."""

from collections.abc import Mapping
from typing import Any

import pytest

from wasm_node.agent.model import desired, observed, parsing, thresholds
from wasm_node.agent.model.thresholds import Signal
from wasm_node.agent.plan import evictions
from wasm_node.protocol import messages, records

MIB = 1 << 20
GIB = 1 << 30
NOW = 1_000.0


def _rules(**given: Any) -> thresholds.Rules:
    off = dict.fromkeys(thresholds.DEFAULT_HARD, "0%")
    soft, graces = given.get("soft", {}), given.get("graces", {})
    made = thresholds.parse(off | given.get("hard", {}), soft, graces, given.get("reclaim", {}))
    return thresholds.Rules(made, most_pod_grace_s=30.0, transition_s=300.0)


def _pod(name: str = "p", **spec: Any) -> desired.DesiredPod:
    containers = spec.pop("containers", [{"name": "main", "image": "x"}])
    return parsing.pod(
        {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"containers": containers, **spec},
        }
    )


def _asking(**requests: str) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "x", "resources": {"requests": requests}}]


def _memory(available: int) -> evictions.Levels:
    return {Signal.MEMORY: messages.Level(available, GIB)}


def _looks(
    rules: thresholds.Rules, *steps: tuple[float, evictions.Levels]
) -> tuple[evictions.Memory, float]:
    memory, now = evictions.Memory(), NOW
    for after_s, levels in steps:
        now = NOW + after_s
        memory = evictions.look(rules, memory, levels, now)
    return memory, now


HARD = _rules(hard={"memory.available": "100Mi"})
SOFT = _rules(soft={"memory.available": "20%"}, graces={"memory.available": "30s"})
RECLAIM = _rules(hard={"memory.available": "100Mi"}, reclaim={"memory.available": "50Mi"})
LOW, MID, HIGH = _memory(99 * MIB), _memory(120 * MIB), _memory(500 * MIB)


@pytest.mark.parametrize(
    ("rules", "steps", "relieve", "told"),
    [
        (HARD, [(0, HIGH)], False, False),
        (HARD, [(0, _memory(100 * MIB))], False, False),  # less than, not as much as
        (HARD, [(0, LOW)], True, True),
        (HARD, [(0, LOW), (1, HIGH)], False, True),  # told for the transition period
        (HARD, [(0, LOW), (299, HIGH)], False, True),
        (HARD, [(0, LOW), (300, HIGH)], False, False),
        (HARD, [(0, LOW), (299, LOW), (598, HIGH)], False, True),  # from when it was last so
        (HARD, [(0, {})], False, False),  # nobody can tell
        (SOFT, [(0, LOW)], False, True),  # the condition does not wait
        (SOFT, [(0, LOW), (29, LOW)], False, True),
        (SOFT, [(0, LOW), (30, LOW)], True, True),
        (SOFT, [(0, LOW), (20, HIGH), (30, LOW)], False, True),  # the grace begins anew
        (RECLAIM, [(0, MID)], False, False),
        (RECLAIM, [(0, LOW), (1, MID)], True, True),  # not enough more yet
        (RECLAIM, [(0, LOW), (1, _memory(150 * MIB))], False, True),
        (RECLAIM, [(0, LOW), (1, HIGH), (2, MID)], False, True),
    ],
)
def test_looks(
    rules: thresholds.Rules, steps: list[tuple[float, evictions.Levels]], relieve: bool, told: bool
) -> None:
    """Thresholds, grace periods, reclaim and the transition (synchronize)."""
    memory, now = _looks(rules, *steps)

    assert (evictions.to_relieve(memory) is not None) is relieve
    assert evictions.conditions(rules, memory, now) == ({"MemoryPressure"} if told else set())


def test_memory_goes_first() -> None:
    """Of several that are short it is memory (byEvictionPriority)."""
    rules = _rules(hard={"pid.available": "10%", "nodefs.available": "10%", **HARD_GIVEN})
    low = messages.Level(1, 1000)
    levels = {Signal.PIDS: low, Signal.DISK: low, Signal.MEMORY: low}
    memory, now = _looks(rules, (0, levels))
    threshold = evictions.to_relieve(memory)

    assert threshold is not None
    assert threshold.signal is Signal.MEMORY
    every = {"MemoryPressure", "DiskPressure", "PIDPressure"}
    assert evictions.conditions(rules, memory, now) == every


HARD_GIVEN = {"memory.available": "100Mi"}


def _candidate(
    name: str,
    used: int,
    *,
    priority: int = 0,
    disk: int | None = 0,
    memory: str = "0",
    storage: str = "0",
) -> evictions.Candidate:
    requests = {"memory": memory, "ephemeral-storage": storage}
    pod = _pod(name, priority=priority, containers=_asking(**requests))
    uses = {"main": evictions.Use(memory_bytes=used, tasks=used)}
    volumes = None if disk is None else messages.DiskUse(disk, disk)
    return evictions.Candidate(pod, uses, volumes)


@pytest.mark.parametrize(
    ("signal", "pods"),
    [
        # above its request first, whatever its priority (exceedMemoryRequests)
        (
            Signal.MEMORY,
            [_candidate("above", 9, priority=9), _candidate("within", 99, memory="1k")],
        ),
        # then the lower priority
        (Signal.MEMORY, [_candidate("low", 1, priority=-1), _candidate("high", 9, priority=1)]),
        # then who is further above what it asked for, not who uses most
        (Signal.MEMORY, [_candidate("far", 900), _candidate("near", 1500, memory="1k")]),
        # of those within their requests, who has least left
        (
            Signal.MEMORY,
            [_candidate("tight", 999, memory="1k"), _candidate("wide", 9, memory="1k")],
        ),
        # as much as asked for is not more
        (Signal.MEMORY, [_candidate("more", 1, priority=5), _candidate("same", 1000, memory="1k")]),
        # tasks: priority, then number; nobody is above or within a request
        (Signal.PIDS, [_candidate("low", 1, priority=-1), _candidate("high", 99)]),
        (Signal.PIDS, [_candidate("many", 99), _candidate("few", 1)]),
        # disk: as memory, by volumes and logs; what cannot be told goes first
        (Signal.DISK, [_candidate("large", 0, disk=99), _candidate("small", 99, disk=9)]),
        (
            Signal.DISK,
            [
                _candidate("above", 0, disk=9),
                _candidate("in", 0, disk=99, storage="1k"),
            ],
        ),
        (
            Signal.DISK,
            [_candidate("unknown", 0, priority=9, disk=None), _candidate("b", 0, disk=9)],
        ),
        (Signal.INODES, [_candidate("many", 0, disk=99), _candidate("few", 0, disk=9)]),
        # nobody can ask for inodes: with one, a pod is above its request
        (Signal.INODES, [_candidate("one", 0, priority=9, disk=1), _candidate("none", 0)]),
    ],
)
def test_order(signal: Signal, pods: list[evictions.Candidate]) -> None:
    """Who goes before whom (rankMemoryPressure and its like)."""
    for given in (pods, pods[::-1]):
        assert evictions.ranked(signal, given) == pods


def test_the_words_are_the_kubelets() -> None:
    """Resource, threshold, what is left, and each container that is above."""
    containers = [
        {"name": "main", "image": "x", "resources": {"requests": {"memory": "64Mi"}}},
        {"name": "side", "image": "x", "resources": {"requests": {"memory": "64Mi"}}},
        {"name": "none", "image": "x"},
    ]
    uses = {
        "main": evictions.Use(memory_bytes=210 * MIB + 1024),
        "side": evictions.Use(memory_bytes=64 * MIB),
        "none": evictions.Use(memory_bytes=5 * MIB),
    }
    going = evictions.Candidate(_pod(containers=containers), uses)
    (threshold,) = HARD.thresholds

    assert evictions.message(threshold, messages.Level(83740 * 1024, GIB), going) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 83740Ki. "
        "Container main was using 215041Ki, request is 64Mi, has larger consumption of memory. "
        "Container none was using 5Mi, request is 0, has larger consumption of memory. "
    )


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        (
            Signal.DISK,
            "ephemeral-storage. Threshold quantity: 100, available: 5000. Container main was using "
            "7Ki, request is 0, has larger consumption of ephemeral-storage. ",
        ),
        (Signal.INODES, "inodes. Threshold quantity: 100, available: 5k. "),
        (Signal.PIDS, "pids. Threshold quantity: 100, available: 5k. "),
    ],
)
def test_the_words_of_other_resources(signal: Signal, said: str) -> None:
    """Containers have logs on the disk; of inodes and pids none is named."""
    (threshold,) = _rules(hard={signal: "10%"}).thresholds
    use = evictions.Use(tasks=9, disk=messages.DiskUse(7 * 1024, 9))
    going = evictions.Candidate(_pod(), {"main": use})
    made = evictions.message(threshold, messages.Level(5000, 1000), going)

    assert made == f"The node was low on resource: {said}"


def test_grace() -> None:
    """One second for a hard threshold, what was set for a soft one."""
    (hard,), (soft,) = HARD.thresholds, SOFT.thresholds
    impatient = thresholds.Rules(SOFT.thresholds, most_pod_grace_s=0.0)

    assert evictions.grace_s(HARD, hard) == 1.0
    assert evictions.grace_s(SOFT, soft) == 30.0
    assert evictions.grace_s(impatient, soft) == 1.0


TOLERANT = {"tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]}
BURSTABLE = {"containers": _asking(memory="1Mi")}
CRITICAL = {"priority": records.CRITICAL_PRIORITY}


@pytest.mark.parametrize(
    ("spec", "pressed", "refused"),
    [
        ({}, set(), ""),
        ({}, {"MemoryPressure"}, "MemoryPressure"),
        (BURSTABLE, {"MemoryPressure"}, ""),
        (TOLERANT, {"MemoryPressure"}, ""),
        ({"tolerations": [{"operator": "Exists"}]}, {"MemoryPressure"}, ""),
        ({"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}, {"MemoryPressure"}, ""),
        ({"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}, {"MemoryPressure"}, "M"),
        ({"tolerations": [{"key": "other", "operator": "Exists"}]}, {"MemoryPressure"}, "M"),
        (CRITICAL, {"MemoryPressure", "DiskPressure", "PIDPressure"}, ""),
        ({"priority": records.CRITICAL_PRIORITY - 1}, {"DiskPressure"}, "DiskPressure"),
        (BURSTABLE, {"DiskPressure"}, "DiskPressure"),
        (TOLERANT, {"PIDPressure"}, "PIDPressure"),
        (BURSTABLE, {"MemoryPressure", "DiskPressure"}, "DiskPressure MemoryPressure"),
    ],
)
def test_who_may_come_under_pressure(
    spec: Mapping[str, Any], pressed: set[str], refused: str
) -> None:
    """Critical pods always; under memory pressure, who asks for something."""
    rejected = evictions.admit(_pod(**spec), frozenset(pressed))

    if not refused:
        assert rejected is None
        return
    assert rejected is not None
    assert rejected.reason == "Evicted"
    assert rejected.message.startswith("The node had condition: [" + refused)
    assert rejected.message.endswith("]. ")


def _seen(*, running: bool, evicted: bool = False) -> observed.ObservedPod:
    attempt = records.AttemptId("uid-p", "main", 0)
    fact: observed.Fact = observed.Running(attempt, 7, NOW)
    if not running:
        record = records.ExitRecord(0, records.EndedBy.ITSELF, "Completed", "", 1, 2)
        fact = observed.Ended(attempt, record)
    why = observed.Evicted("why", 1.0, NOW) if evicted else None
    containers = {"main": observed.ObservedContainer(current=fact)}
    return observed.ObservedPod(NOW, containers, evicted=why)


def test_only_what_runs_can_go() -> None:
    """Neither what has ended, nor what was told to go already."""
    pod = _pod()
    pairs = [
        (pod, _seen(running=True)),
        (_pod("ended"), _seen(running=False)),
        (_pod("going"), _seen(running=True, evicted=True)),
        (_pod("new"), observed.ObservedPod(NOW)),
    ]

    assert evictions.candidates(pairs) == [pod]
    over = [evictions.is_over(pod, _seen(running=run, evicted=True)) for run in (True, False)]
    assert over == [False, True]
    assert not evictions.is_over(pod, _seen(running=False))  # it may be started again


@pytest.mark.parametrize("signal", Signal)
def test_what_is_not_told_is_nothing(signal: Signal) -> None:
    """A container of which no figure is known counts for none."""
    assert evictions.Candidate(_pod(), {"main": evictions.Use()}).used(signal) == 0
