"""
Who goes for a critical pod.

The table's cases are those situations that the kubelet's own
preemption_test.go has, with pods of this page.
"""

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.model import desired, ids, observed, parsing, requests
from wasm_node.agent.plan import preemption
from wasm_node.protocol import records

CRITICAL = records.CRITICAL_PRIORITY
BEST, BURSTABLE, GUARANTEED = "BestEffort", "Burstable", "Guaranteed"


def _pod(
    name: str,
    cpu: int = 0,
    mib: int = 0,
    *,
    quality: str = "",
    priority: int = 0,
    disk: int = 0,
) -> desired.DesiredPod:
    """Return a pod that asks for thousandths of a core, MiB, and bytes."""
    texts = {"cpu": f"{cpu}m" * bool(cpu), "memory": f"{mib}Mi" * bool(mib)}
    texts["ephemeral-storage"] = str(disk) * bool(disk)
    asked = {name: text for name, text in texts.items() if text}
    resources = {"requests": asked} | ({"limits": asked} if quality == GUARANTEED else {})
    made = parsing.pod(
        {
            "metadata": {"name": name, "uid": name},
            "spec": {
                "containers": [{"name": "c", "image": "x", "resources": resources}],
                "priority": priority,
            },
        }
    )
    assert quality in ("", made.qos_class)
    return made


NEW = _pod("new", priority=CRITICAL + 5)
BURST = _pod("burst", 100, 100, quality=BURSTABLE)
LARGE = _pod("large", 300, 300, quality=BURSTABLE)
SAFE = _pod("safe", 100, 100, quality=GUARANTEED)
SAFER = _pod("safer", 300, 300, quality=GUARANTEED)
NONE = _pod("none", quality=BEST)
HIGH = _pod("high", 300, 300, priority=CRITICAL + 5)
LOW = _pod("low", 300, 300, priority=CRITICAL + 4)
EVERYBODY = [NONE, BURST, LARGE, SAFE, SAFER, HIGH]
MIB = 1 << 20


def _chosen(
    others: Sequence[desired.DesiredPod],
    lacking: Mapping[str, int],
    going: Sequence[str] = (),
    new: desired.DesiredPod = NEW,
) -> list[str] | str:
    """Name those who have to go, or say why none does."""
    found = preemption.need(new, others, lacking, frozenset(map(ids.PodUid, going)))
    if isinstance(found, observed.Rejected):
        assert found.reason == "UnexpectedAdmissionError"
        return found.message
    return [each.ref.name for each in preemption.choose(found)]


@pytest.mark.parametrize(
    ("others", "lacking", "expected"),
    [
        (EVERYBODY, {"pods": 1}, ["none"]),
        (EVERYBODY, {"pods": 2}, ["none", "burst"]),
        (EVERYBODY, {"cpu": 100}, ["burst"]),
        (EVERYBODY, {"cpu": 101}, ["large"]),
        (EVERYBODY, {"cpu": 301}, ["large", "burst"]),
        (EVERYBODY, {"cpu": 400}, ["large", "burst"]),
        (EVERYBODY, {"cpu": 401}, ["large", "burst", "safe"]),
        (EVERYBODY, {"cpu": 501}, ["large", "safer"]),
        (EVERYBODY, {"cpu": 800}, ["large", "burst", "safer", "safe"]),
        (EVERYBODY, {"cpu": 100, "pods": 1}, ["burst"]),
        (EVERYBODY, {"cpu": 100, "pods": 2}, ["none", "burst"]),
        (EVERYBODY, {"memory": 200 * MIB, "cpu": 1}, ["large"]),
        ([SAFE, BURST, SAFER], {"memory": 1}, ["burst"]),
        ([HIGH, SAFER], {"cpu": 1}, ["safer"]),
        ([LOW, HIGH], {"cpu": 1}, ["low"]),
        ([_pod("a", disk=5), _pod("b", disk=9)], {"ephemeral-storage": 6}, ["b"]),
    ],
)
def test_who_goes(
    others: list[desired.DesiredPod], lacking: dict[str, int], expected: list[str]
) -> None:
    """As few as can be of the least class that has enough."""
    found = _chosen(others, lacking)

    assert isinstance(found, list)
    assert sorted(found) == sorted(expected)


def test_the_least_class_is_named_first() -> None:
    """Best-effort pods are told first (getPodsToPreempt)."""
    assert _chosen([SAFE, NONE, BURST], {"pods": 3}) == ["none", "burst", "safe"]


@pytest.mark.parametrize(
    ("others", "lacking", "unmet"),
    [
        ([], {"pods": 1}, "[(res: pods, q: 1), ]"),
        ([HIGH], {"cpu": 200}, "[(res: cpu, q: 200), ]"),
        (EVERYBODY, {"cpu": 801, "memory": 5}, "[(res: cpu, q: 1), ]"),
        ([NONE], {"cpu": 7, "memory": 5, "pods": 1}, "[(res: cpu, q: 7), (res: memory, q: 5), ]"),
    ],
)
def test_too_little_for_it(
    others: list[desired.DesiredPod], lacking: dict[str, int], unmet: str
) -> None:
    """Nobody goes, and what is missing is told in the kubelet's words."""
    assert _chosen(others, lacking) == (
        "Unexpected error while attempting to recover from admission failure: preemption: error"
        " finding a set of pods to preempt: no set of running pods found to reclaim resources: "
        f"{unmet}"
    )


def test_of_equal_ones_the_smaller_goes() -> None:
    """By memory, by processor time (smallerResourceRequest), by priority."""
    small, big = _pod("small", 900, 1), _pod("big", 100, 2)
    less, more = _pod("less", 100, 2), _pod("more", 900, 2)
    low, high = _pod("low", 1, 1, priority=1), _pod("high", 1, 1, priority=2)

    assert _chosen([big, small], {"pods": 1}) == ["small"]
    assert _chosen([more, less], {"pods": 1}) == ["less"]
    assert _chosen([high, low], {"pods": 1}) == _chosen([low, high], {"pods": 1}) == ["low"]


def test_the_nearest_goes_first() -> None:
    """And then whoever is enough for what is left."""
    pods = [_pod("60", 60), _pod("70", 70), _pod("50", 50)]

    assert _chosen(pods, {"cpu": 100}) == ["50", "70"]


def test_what_lacks_little_of_each_is_not_always_nearer() -> None:
    """Shares are squared (distance): .8 and .1 are less than .6 and .55."""
    pods = [_pod("a", 20, 90), _pod("b", 40, 45), _pod("c", 80, 10), _pod("d", 30, 50)]

    assert _chosen(pods, {"cpu": 100, "memory": 100 * MIB}) == ["c", "a"]


def test_resources_weigh_the_same() -> None:
    """A distance is made of shares of what is missing, not of amounts."""
    by_amounts = [_pod("heavy", 0, 100), _pod("busy", 100, 0)]
    by_shares = [_pod("half", 60, 60), _pod("rest", 40, 40)]
    found = _chosen([*by_amounts, *by_shares], {"cpu": 100, "memory": 100 * MIB})

    assert sorted(found) == ["half", "rest"]


def test_who_turns_out_not_to_be_needed_stays() -> None:
    """The nearest one is taken first, and the next two have it all."""
    near = _pod("near", 80, 80)
    both = [_pod("processor", 100), _pod("memory", 0, 100)]
    found = _chosen([near, *both], {"cpu": 100, "memory": 100 * MIB})

    assert isinstance(found, list)
    assert sorted(found) == ["memory", "processor"]


def test_who_goes_already_is_enough() -> None:
    """An agent that was killed meanwhile sends nobody else away."""
    assert _chosen([NONE, BURST, SAFE], {"cpu": 100}, going=["safe"]) == ["safe"]
    assert _chosen([NONE, BURST, SAFE], {"cpu": 200}, going=["safe"]) == ["safe", "burst"]
    assert _chosen([NONE, BURST, SAFE], {"pods": 1}, going=["burst"]) == ["burst"]


@pytest.mark.parametrize(("graces", "expected"), [([0], 10), ([6], 10), ([30], 45), ([8, 20], 30)])
def test_how_long_their_ends_are_waited_for(graces: list[int], expected: float) -> None:
    """Half as long again as the longest has, and ten seconds (killPodNow)."""
    pods = [_pod(f"p{n}").ending(float(each)) for n, each in enumerate(graces)]

    assert preemption.wait_s(pods) == expected


def _numbered(name: int, cpu: int, mib: int, priority: int, *, safe: bool) -> desired.DesiredPod:
    quality = GUARANTEED if safe and cpu and mib else ""
    return _pod(f"u{name}", cpu, mib, priority=priority, quality=quality)


@st.composite
def _others(draw: st.DrawFn) -> list[desired.DesiredPod]:
    return [
        _numbered(
            name,
            draw(st.integers(0, 5)),
            draw(st.integers(0, 5)),
            draw(st.sampled_from([0, 7, CRITICAL, CRITICAL + 5, CRITICAL + 9])),
            safe=draw(st.booleans()),
        )
        for name in range(draw(st.integers(0, 7)))
    ]


def _freed(pods: Iterable[desired.DesiredPod]) -> dict[str, int]:
    found = list(pods)
    return {
        "pods": len(found),
        "cpu": sum(each.asks.cpu_millis for each in found),
        "memory": sum(each.asks.memory_bytes for each in found),
    }


_LACKING = st.dictionaries(
    st.sampled_from(["pods", "cpu", "memory"]), st.integers(1, 12), min_size=1
).map(lambda x: {name: much * (MIB if name == "memory" else 1) for name, much in x.items()})


@given(_others(), _LACKING, st.sets(st.sampled_from([f"u{n}" for n in range(7)])))
def test_any_choice(
    others: list[desired.DesiredPod], lacking: dict[str, int], going: set[str]
) -> None:
    """
    Enough comes back, or nobody goes, as all together had too little.

    Nobody goes whose priority is as high. Without any one of those who go, all
    who are cheaper, together with the others that go, have too little.
    """

    def is_enough(pods: Iterable[desired.DesiredPod]) -> bool:
        freed = _freed(pods)
        return all(freed[name] >= much for name, much in lacking.items())

    def rank(pod: desired.DesiredPod) -> int:
        order = (BEST, BURSTABLE, GUARANTEED)
        return -1 if pod.ref.uid in going else order.index(pod.qos_class)

    found = preemption.need(NEW, others, lacking, frozenset(map(ids.PodUid, going)))
    may_go = [each for each in others if each.priority < NEW.priority]

    if isinstance(found, observed.Rejected):
        assert not is_enough(may_go)
        return
    chosen = preemption.choose(found)
    assert is_enough(chosen)
    assert all(each in may_go for each in chosen)
    assert len({each.ref.uid for each in chosen}) == len(chosen)
    for each in chosen:
        cheaper = [x for x in may_go if rank(x) < rank(each)]
        dearer = [x for x in chosen if rank(x) >= rank(each) and x is not each]
        assert not is_enough([*cheaper, *dearer])


def _asking(name: int, asks: requests.Requests, priority: int, quality: str) -> desired.DesiredPod:
    ref = ids.PodRef("default", f"u{name}", ids.PodUid(f"u{name}"))
    return dataclasses.replace(NONE, ref=ref, asks=asks, priority=priority, qos_class=quality)


def _has(pod: desired.DesiredPod, resource: str) -> int:
    asks = pod.asks
    amounts = (1, asks.cpu_millis, asks.memory_bytes, asks.storage_bytes)
    return amounts[("pods", "cpu", "memory", "ephemeral-storage").index(resource)]


def _left(lacking: Mapping[str, int], pods: Iterable[desired.DesiredPod]) -> dict[str, int]:
    gone = list(pods)
    left = {name: much - sum(_has(each, name) for each in gone) for name, much in lacking.items()}
    return {name: much for name, much in left.items() if much > 0}


def _far(pod: desired.DesiredPod, lacking: Mapping[str, int]) -> float:
    far = 0.0
    for name, much in lacking.items():
        share = (much - _has(pod, name)) / much
        far += share * share if share > 0 else 0.0
    return far


def _by_looking_at_all(
    pods: Sequence[desired.DesiredPod], lacking: Mapping[str, int]
) -> list[desired.DesiredPod]:
    """
    As getPodsToPreemptByDistance; then without who is not needed.

    Of equal ones those come first of which one comes last, as there; of pods
    that are the same in all, the first.
    """
    order = list(dict.fromkeys((each.asks, each.priority) for each in reversed(pods)))
    left, chosen = list(pods), list[desired.DesiredPod]()
    while unmet := _left(lacking, chosen):
        ranked = [(_far(x, unmet), *_size(x), order.index((x.asks, x.priority))) for x in left]
        chosen.append(left.pop(ranked.index(min(ranked))))
    for each in list(chosen):
        others = [other for other in chosen if other is not each]
        if not _left(lacking, others):
            chosen = others
    return chosen


def _size(pod: desired.DesiredPod) -> tuple[int, int, int]:
    return pod.asks.memory_bytes, pod.asks.cpu_millis, pod.priority


def _drawn(seed: int) -> tuple[list[desired.DesiredPod], dict[str, int]]:
    """Draw pods, few or many, alike or not, and what of theirs is lacking."""
    draw = random.Random(seed)  # noqa: S311  # no secrets: any pods will do
    most = draw.choice([1, 3, 40, 2**60])
    pods = [
        _asking(
            number,
            requests.Requests(*(draw.choice([0, draw.randint(0, most)]) for _ in range(3))),
            draw.randint(0, 2),
            draw.choice([BEST, BURSTABLE, GUARANTEED]),
        )
        for number in range(draw.choice([1, 5, 20, 90]))
    ]
    names = ("pods", "cpu", "memory", "ephemeral-storage")
    freed = {name: sum(_has(each, name) for each in pods) for name in names}
    wanted = draw.sample(names, draw.randint(1, 4))
    return pods, {name: draw.randint(1, freed[name]) for name in wanted if freed[name]}


@given(st.integers(0))
def test_the_choice_is_that_of_looking_at_all(seed: int) -> None:
    """The kubelet's own way, which costs the square of the number of pods."""
    pods, lacking = _drawn(seed)
    found = preemption.need(NEW, pods, lacking, ())
    assert isinstance(found, preemption.Need)
    of = {name: [x for x in pods if x.qos_class == name] for name in (BEST, BURSTABLE, GUARANTEED)}
    dear = _by_looking_at_all(of[GUARANTEED], _left(lacking, of[BEST] + of[BURSTABLE]))
    fair = _by_looking_at_all(of[BURSTABLE], _left(lacking, of[BEST] + dear))
    cheap = _by_looking_at_all(of[BEST], _left(lacking, fair + dear))

    assert list(preemption.choose(found)) == [*cheap[::-1], *fair[::-1], *dear[::-1]]
