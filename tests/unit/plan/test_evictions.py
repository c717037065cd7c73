"""When pods are evicted and which: the kubelet's rules, as tables."""

import dataclasses
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
    volumes = None if disk is None else {"data": messages.DiskUse(disk, disk)}
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


def _disk(used: int) -> messages.DiskUse:
    return messages.DiskUse(used, 1)


def _limited(
    volumes: Mapping[str, str], *limits: str, priority: int = 0, **spec: Any
) -> desired.DesiredPod:
    """Give a pod of containers c0, c1, ...; an empty limit is none."""
    containers = [
        {
            "name": f"c{index}",
            "image": "x",
            "resources": {"limits": {"ephemeral-storage": each} if each else {}},
        }
        for index, each in enumerate(limits)
    ]
    sizes = [{"name": name, "emptyDir": {"sizeLimit": size}} for name, size in volumes.items()]
    return _pod(containers=containers, volumes=sizes, priority=priority, **spec)


OF_VOLUME = 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
OF_POD = "Pod ephemeral local storage usage exceeds the total limit of containers {}. "
_OF_SIGNAL = {
    "Usage": "emptydirfs.limit",
    "Pod": "ephemeralpodfs.limit",
    "Container": "ephemeralcontainerfs.limit",
}
OF_CONTAINER = 'Container c0 exceeded its local ephemeral storage limit "1Mi". '


@pytest.mark.parametrize(
    ("pod", "volumes", "containers", "said"),
    [
        # emptyDirLimitEviction: more than its size, whatever else there is
        (_limited({"v": "1Mi"}, ""), {"v": MIB}, {}, None),
        (_limited({"v": "1Mi"}, ""), {"v": MIB + 1}, {}, OF_VOLUME),
        (_limited({"v": "1Mi"}, ""), {"w": 9 * MIB}, {"c0": 9 * MIB}, None),
        (_limited({"v": "1Mi"}, ""), None, {"c0": 9 * MIB}, None),  # nobody can tell
        (_limited({"v": "1Mi"}, ""), {}, {}, None),  # no container has mounted it
        (_limited({"v": "0"}, ""), {"v": 1}, {}, None),  # size.Sign() == 1
        (_limited({"v": "1"}, ""), {"v": 2}, {}, OF_VOLUME.replace("1Mi", "1")),
        # podEphemeralStorageLimitEviction: volumes and containers together
        (_limited({}, "1Mi"), {"w": MIB - 9}, {"c0": 9}, None),
        (_limited({}, "1Mi"), {"w": MIB - 9}, {"c0": 5, "c1": 5}, OF_POD.format("1Mi")),
        (_limited({}, "1Mi", "1Mi"), {"w": 2 * MIB}, {"c0": 1}, OF_POD.format("2Mi")),
        (_limited({}, "0"), {}, {"c0": 1}, OF_POD.format("0")),
        # containerEphemeralStorageLimitEviction: its own, without volumes
        (_limited({}, "1Mi", "9Mi"), {"w": 2 * MIB}, {"c0": MIB}, None),
        (_limited({}, "1Mi", "9Mi"), {}, {"c0": MIB + 1}, OF_CONTAINER),
        (_limited({}, "1Mi", "9Mi"), {}, {"c0": 1, "c1": 2 * MIB}, None),
        (_limited({}, "0", "9Mi"), {}, {"c0": 1}, None),  # Value() != 0
        (_limited({}, "1", "9Mi"), {}, {"c0": 2}, OF_CONTAINER.replace("1Mi", "1")),
        # in this order
        (_limited({"v": "1Mi"}, "1Mi"), {"v": 2 * MIB}, {"c0": 2 * MIB}, OF_VOLUME),
        (_limited({}, "1Mi"), {}, {"c0": 2 * MIB}, OF_POD.format("1Mi")),
    ],
)
def test_limits(
    pod: desired.DesiredPod,
    volumes: Mapping[str, int] | None,
    containers: Mapping[str, int],
    said: str | None,
) -> None:
    """What localStorageEviction ends a pod for, and in which words."""
    uses = evictions.on_disk({name: _disk(used) for name, used in containers.items()})
    disks = None if volumes is None else {name: _disk(used) for name, used in volumes.items()}

    over = evictions.over_limit(evictions.Candidate(pod, uses, disks))
    assert (over.message if over else None) == said
    assert over is None or _OF_SIGNAL[said.partition(" ")[0] if said else ""] == over.signal


def test_what_a_container_has_on_the_disk() -> None:
    """Its logs and its last words; it is whole when both are."""
    words = messages.DiskUse(5, 2, whole=False)
    found = evictions.on_disk({"a": _disk(3), "b": _disk(4)}, {"a": words})
    candidate = evictions.Candidate(_pod(), found, {})

    assert {name: each.disk for name, each in found.items()} == {
        "a": messages.DiskUse(8, 3, whole=False),
        "b": _disk(4),
    }
    assert not candidate.is_whole
    assert evictions.Candidate(_pod(), evictions.on_disk({"b": _disk(4)}), {}).is_whole
    assert not evictions.Candidate(_pod(), {}, {"v": words}).is_whole
    assert not evictions.Candidate(_pod(), {}, None).is_whole


def _main(**spec: Any) -> desired.DesiredPod:
    """Give a pod of a container `main` with such a limit."""
    limits = {"limits": {"ephemeral-storage": "1Mi"}}
    return _pod(containers=[{"name": "main", "image": "x", "resources": limits}], **spec)


@pytest.mark.parametrize(
    ("pod", "seen", "limited"),
    [
        (_main(), _seen(running=True), True),
        (_pod(), _seen(running=True), False),  # it has no limit
        (_main(priority=records.CRITICAL_PRIORITY), _seen(running=True), False),
        (_main(), _seen(running=True, evicted=True), False),
        (_main(), observed.ObservedPod(NOW), False),  # nothing of it has begun
        (_main(), _seen(running=False), True),  # it will be started again
        (_main(restartPolicy="Never"), _seen(running=False), False),  # it is done
        (_main(activeDeadlineSeconds=5), _seen(running=True), True),
        (_main(activeDeadlineSeconds=5), _seen(running=False), False),  # likewise
        (_main(activeDeadlineSeconds=6), _seen(running=False), True),
        (dataclasses.replace(_main(), deleting=True), _seen(running=True), True),
        (dataclasses.replace(_main(), deleting=True), _seen(running=False), False),
        (dataclasses.replace(_main(), finished=True), _seen(running=True), False),
    ],
)
def test_who_may_have_to_go_for_its_limits(
    pod: desired.DesiredPod, seen: observed.ObservedPod, limited: bool
) -> None:
    """Active pods that are not critical (GetActivePods, evictPod)."""
    assert evictions.is_limited(pod, seen, NOW + 5) is limited


def test_a_pod_goes_as_long_as_something_of_it_runs() -> None:
    """Though it is deleted, and another container has ended."""
    attempt = records.AttemptId("uid-p", "side", 0)
    side = observed.ObservedContainer(current=observed.Running(attempt, 7, NOW))
    seen = _seen(running=False).changed("side", lambda _: side)
    pod = dataclasses.replace(_main(), deleting=True)

    assert evictions.is_limited(pod, seen, NOW)


def test_a_rejected_pod_has_no_limits() -> None:
    """It is over already, whatever traces of it there are."""
    rejected = observed.Rejected("OutOfcpu", "m")
    seen = dataclasses.replace(_seen(running=True), rejected=rejected)

    assert not evictions.is_limited(_main(), seen, NOW)
