"""Which images go; the rules' sources are in `plan.collecting`."""

import collections
import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.model import collection, desired, image, observed, parsing
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.plan import collecting
from wasm_node.protocol import messages, records

NOW = 10_000.0
RULES = collection.Rules(least_age_s=100.0)


def _kept(name: str, used: float, size: int = 10, came: float = 0.0, **shared: int) -> image.Kept:
    parts = {Digest(name): size, **{Digest(each): much for each, much in shared.items()}}
    return image.Kept(Digest(name), frozenset({f"r/{name}:1"}), parts, came, used)


def _gone(
    images: Sequence[image.Kept],
    wanted: float,
    *used: str,
    rules: collection.Rules = RULES,
) -> image.Choice:
    return collecting.choose(rules, images, frozenset(map(Digest, used)), wanted, NOW)


@pytest.mark.parametrize(
    ("high", "low", "available", "expected"),
    [
        (85, 80, 16, 0),  # 84 % in use
        (85, 80, 15, 5),  # GarbageCollect: at the threshold is above it
        (85, 80, 0, 20),
        (85, 80, 100, 0),
        (100, 80, 0, 0),  # StartGarbageCollection: 100 is off
        (99, 0, 1, 99),
        (0, 80, 50, 0),  # above, and there is enough
    ],
)
def test_how_much_is_to_be_freed(high: int, low: int, available: int, expected: int) -> None:
    """Down to the low threshold, from the high one on (GarbageCollect)."""
    rules = collection.Rules(high_percent=high, low_percent=low)

    assert collecting.to_free(rules, messages.Level(available, 100)) == expected


def test_a_disk_without_a_size_is_not_full() -> None:
    """There is no percentage of nothing (InvalidDiskCapacity)."""
    assert collecting.to_free(RULES, messages.Level(0, 0)) == 0


def test_a_part_of_a_percent_counts_as_one() -> None:
    """Integers, as a kubelet reckons: 100 less the rounded percentage left."""
    assert collecting.in_use(messages.Level(159, 1000)) == 85
    assert collecting.to_free(RULES, messages.Level(159, 1000)) == 41


def test_the_least_recently_used_go_first() -> None:
    """Until enough comes back, and no further (byLastUsedAndDetected)."""
    images = [_kept("new", 9.0), _kept("old", 1.0), _kept("mid", 5.0)]

    assert list(_gone(images, 11).gone) == ["old", "mid"]
    assert list(_gone(images, 10).gone) == ["old"]
    assert not _gone(images, 0).gone


def test_of_two_used_at_once_the_older_goes() -> None:
    """Ties are broken by when an image came (byLastUsedAndDetected)."""
    images = [_kept("late", 5.0, came=4.0), _kept("early", 5.0, came=3.0)]

    assert list(_gone(images, 1).gone) == ["early"]


def test_what_is_used_stays() -> None:
    """However long ago that was noted, and however full the disk is."""
    images = [_kept("used", 0.0), _kept("free", 9.0)]
    made = _gone(images, collecting.EVERYTHING, "used")

    assert (made.gone, made.freed_bytes, made.used) == (
        {"free": collecting.SPACE},
        10,
        frozenset({"used"}),
    )


def test_a_young_image_stays() -> None:
    """It may have been pulled for a pod that is about to come (MinAge)."""
    images = [_kept("young", 0.0, came=NOW - 99.9), _kept("due", 9.0, came=NOW - 100)]

    assert list(_gone(images, collecting.EVERYTHING).gone) == ["due"]


@pytest.mark.parametrize(("idle", "expected"), [(50.0, []), (50.1, ["x"])])
def test_an_image_that_is_idle_for_long_goes(idle: float, expected: list[str]) -> None:
    """Young or not, with room or without (freeOldImages, KEP-4210)."""
    rules = dataclasses.replace(RULES, most_idle_s=50.0)
    made = _gone([_kept("x", NOW - idle, came=NOW - 60)], 0, rules=rules)

    assert made.gone == dict.fromkeys(expected, collecting.AGE)


def test_idle_for_ever_is_allowed() -> None:
    """A maximum of 0 is none; the shortest is one."""
    shortest = dataclasses.replace(RULES, most_idle_s=0.001)

    assert not _gone([_kept("x", 0.0)], 0).gone
    assert _gone([_kept("x", 0.0)], 0, rules=shortest).gone


def test_what_goes_by_age_counts_for_space() -> None:
    """The disk is looked at after the old ones have gone (GarbageCollect)."""
    rules = dataclasses.replace(RULES, most_idle_s=500.0)
    images = [_kept("idle", 1.0), _kept("other", NOW - 400)]

    assert _gone(images, 10, rules=rules).gone == {"idle": collecting.AGE}
    assert _gone(images, 11, rules=rules).gone == {
        "idle": collecting.AGE,
        "other": collecting.SPACE,
    }


def test_a_shared_layer_comes_back_with_the_last_that_has_it() -> None:
    """Until then it is not counted as freed."""
    images = [_kept("a", 1.0, layer=100), _kept("b", 2.0, layer=100), _kept("c", 3.0)]

    assert _gone(images, 10).freed_bytes == 10
    assert list(_gone(images, 11).gone) == ["a", "b"]
    assert _gone(images, 11).freed_bytes == 120
    assert _gone(images, collecting.EVERYTHING, "b").freed_bytes == 20


_IMAGES = st.lists(
    st.builds(
        image.Kept,
        root=st.sampled_from([Digest(f"r{n}") for n in range(6)]),
        names=st.just(frozenset()),
        parts=st.dictionaries(
            st.sampled_from([Digest(f"p{n}") for n in range(8)]), st.integers(0, 9), max_size=4
        ),
        came_at=st.floats(0, NOW),
        used_at=st.floats(0, NOW),
    ),
    unique_by=lambda each: each.root,
    max_size=6,
)


@given(
    _IMAGES,
    st.sets(st.sampled_from([Digest(f"r{n}") for n in range(6)])),
    st.integers(0, 60),
    st.sampled_from([0.0, 500.0]),
)
def test_any_choice(
    images: list[image.Kept], used: set[Digest], wanted: int, most_idle_s: float
) -> None:
    """
    Never a used one; of the others the least recently used; enough, or all.

    What is said to come back is what lies on disk for no image that stays.
    """
    sizes = {part: 7 for each in images for part in each.parts}
    images = [dataclasses.replace(x, parts={p: sizes[p] for p in x.parts}) for x in images]
    rules = dataclasses.replace(RULES, most_idle_s=most_idle_s)
    made = collecting.choose(rules, images, frozenset(used), wanted, NOW)
    by_root = {each.root: each for each in images}
    may_go = {each.root for each in images if each.root not in used and NOW - each.came_at >= 100}
    idle = {
        each.root
        for each in images
        if most_idle_s and each.root not in used and NOW - each.used_at > most_idle_s
    }
    stay = [each for each in images if each.root not in made.gone]
    freed = {part for root in made.gone for part in by_root[root].parts} - {
        part for each in stay for part in each.parts
    }

    assert not used & set(made.gone)
    assert idle <= set(made.gone) <= idle | may_go
    assert made.freed_bytes == 7 * len(freed)
    assert made.freed_bytes >= wanted or set(made.gone) == idle | may_go
    last = max((by_root[root].used_at for root in made.gone), default=0.0)
    assert all(each.used_at >= last for each in stay if each.root in may_go)
    assert collections.Counter(made.gone.values())[collecting.AGE] == len(idle)


def _pod(**spec: object) -> desired.DesiredPod:
    main = {"name": "main", "image": "app"}
    raw = {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [main], **spec}}
    return parsing.pod(raw)


def test_all_that_a_pod_names_is_used() -> None:
    """Init containers and ephemeral ones too, begun or not."""
    pod = _pod(
        initContainers=[{"name": "first", "image": "init:2"}],
        ephemeralContainers=[{"name": "look", "image": "shell:3"}],
    )
    by = collecting.uses([(pod, None)], [])

    assert by == collecting.Uses(frozenset({"app", "init:2", "shell:3"}), frozenset())


def test_what_a_pod_was_made_of_is_used() -> None:
    """Though its tag has moved on: of each attempt, fetched, or in hand."""
    program = image.Program("/m", Digest("sha256:m"), image.Kind.MODULE, ())  # type: ignore[arg-type]
    found = image.Image("app", "r/app@sha256:next", "A", 1, None, None, None)
    container = observed.ObservedContainer(
        made_of={
            0: observed.Made("app", "r/app@sha256:before"),
            1: observed.Made("app", "r:5000/app@sha256:now"),
        },
        image=observed.ImageHere("r/app@sha256:next", program, found),
    )
    seen = observed.ObservedPod(1.0, {"main": container, "fresh": observed.ObservedContainer()})
    by = collecting.uses([(None, seen)], ["r/other@sha256:hand"])

    assert sorted(by.roots) == ["sha256:before", "sha256:hand", "sha256:next", "sha256:now"]


def _ended(code: int, *, running: bool = False, evicted: bool = False) -> observed.ObservedPod:
    attempt = records.AttemptId("u", "main", 0)
    record = records.ExitRecord(code, records.EndedBy.ITSELF, "Completed", "", 1, 2)
    container = observed.ObservedContainer(
        current=observed.Running(attempt, 7, 1.0) if running else observed.Ended(attempt, record),
        made_of={0: observed.Made("app", "r/app@sha256:it")},
    )
    why = observed.Evicted("why", 1.0, 1.0) if evicted else None
    return observed.ObservedPod(1.0, {"main": container}, evicted=why)


@pytest.mark.parametrize(
    ("finished", "seen", "is_used"),
    [
        (True, _ended(0), False),
        (True, _ended(1), False),
        (True, observed.ObservedPod(1.0), False),  # it was rejected
        (True, None, True),  # something of it may run: nobody has looked
        (True, _ended(0, running=True), True),  # it is being ended
        (False, _ended(0), True),  # it is started again
        (False, _ended(0, evicted=True), False),
        (False, _ended(0, running=True, evicted=True), True),
    ],
)
def test_what_is_over_uses_no_image(
    finished: bool, seen: observed.ObservedPod | None, is_used: bool
) -> None:
    """
    As on a kubelet whose disk is full: it removes the dead containers first.

    Until nothing of the pod runs, or will again, its images stay.
    """
    pod = dataclasses.replace(_pod(), finished=finished)
    by = collecting.uses([(pod, seen)], [])

    assert bool(by.texts) is is_used
    assert bool(by.roots) is (is_used and bool(seen and seen.containers))


def test_one_pod_that_goes_on_is_enough() -> None:
    """Though another one of the same image is over."""
    over = dataclasses.replace(_pod(), finished=True)
    by = collecting.uses([(over, _ended(0)), (_pod(), _ended(1, running=True))], [])

    assert by == collecting.Uses(frozenset({"app"}), frozenset({Digest("sha256:it")}))


def test_images_are_used_by_name_or_by_what_they_are() -> None:
    """One name of several is enough."""
    named = dataclasses.replace(_kept("a", 1.0), names=frozenset({"x", "y"}))
    images = [named, _kept("b", 1.0), _kept("c", 1.0)]
    by = collecting.Uses(frozenset(), frozenset({Digest("b"), Digest("absent")}))

    assert collecting.roots(images, frozenset({"y", "z"}), by) == {"a", "b"}


def test_an_image_is_used_by_its_digest() -> None:
    """By its own, and by that of the manifest that its index leads to."""
    images = [_kept("a", 1.0), _kept("b", 1.0, manifest=1), _kept("c", 1.0)]
    by = collecting.Uses(frozenset(), frozenset())

    assert collecting.roots(images, frozenset({"a", "manifest"}), by) == {"a", "b"}
    made = dataclasses.replace(by, roots=frozenset({Digest("manifest")}))
    assert collecting.roots(images, frozenset(), made) == {"b"}


def test_too_little_is_told() -> None:
    """With figures, and what to do (FreeDiskSpaceFailed)."""
    disk = messages.Level(10, 100)
    event = collecting.too_little(disk, 10, 9)

    assert collecting.too_little(disk, 10, 10) is None
    assert collecting.too_little(disk, 0, 0) is None
    assert event is not None
    assert (event.reason, event.warning) == ("FreeDiskSpaceFailed", True)
    assert event.message == (
        "90% of the disk is in use: 10 bytes had to be freed, and removing unused images freed 9;"
        " look for large logs, volumes or files of others, or make the disk larger"
    )
