"""Checkpoints: what several loops keep of one pod."""

import dataclasses
import functools
from concurrent import futures
from pathlib import Path

import pytest

from wasm_node.agent.model import ids, observed
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import checkpoint
from wasm_node.protocol import records

REF = ids.PodRef("default", "p", ids.PodUid("u1"))
EVICTED = observed.Evicted("The node was low on resource: memory. ", 1.0, 7.0)


@pytest.fixture
def kept(tmp_path: Path) -> checkpoint.Checkpoints:
    """Give checkpoints below an empty directory."""
    return checkpoint.Checkpoints(tmp_path)


def _evict(kept: observed.ObservedPod) -> observed.ObservedPod:
    return dataclasses.replace(kept, evicted=EVICTED)


def _made(seen: observed.ObservedContainer, image: str) -> observed.ObservedContainer:
    return dataclasses.replace(seen, made_of={0: observed.Made(image, f"r/{image}@sha256:1")})


def _start(pod: observed.ObservedPod, name: str) -> observed.ObservedPod:
    return pod.changed(name, functools.partial(_made, image=name))


@pytest.mark.parametrize("evicted_first", [True, False])
def test_what_one_loop_keeps_another_does_not_undo(
    kept: checkpoint.Checkpoints, *, evicted_first: bool
) -> None:
    """
    An eviction and a start at once: both have seen the pod before either.

    Whichever is written last, an agent that is killed then finds both.
    """
    before = observed.ObservedPod(started_at=3.0)
    start = functools.partial(_start, name="main")
    for change in (_evict, start) if evicted_first else (start, _evict):
        kept.change(REF, before, change)
    found = kept.load(REF.uid)

    assert found is not None
    assert (found.started_at, found.evicted) == (3.0, EVICTED)
    assert found.container("main").made_of[0].image == "main"


def test_changes_from_many_threads_all_stay(kept: checkpoint.Checkpoints) -> None:
    """Each is of a container of its own; no two write at the same time."""
    before = observed.ObservedPod(started_at=3.0)
    names = [f"c{number}" for number in range(64)]
    with futures.ThreadPoolExecutor(16) as threads:
        changes = (functools.partial(_start, name=name) for name in names)
        list(threads.map(lambda each: kept.change(REF, before, each), changes))
    found = kept.load(REF.uid)

    assert found is not None
    assert {name: each.made_of[0].image for name, each in found.containers.items()} == {
        name: name for name in names
    }


def test_a_reset_is_of_all_containers_or_of_none(kept: checkpoint.Checkpoints) -> None:
    """It is one write, beside what each of them was made of."""
    before = observed.ObservedPod(started_at=3.0)
    attempts = [records.AttemptId("u1", name, number) for name, number in (("a", 0), ("b", 3))]
    kept.change(REF, before, functools.partial(_start, name="a"))
    kept.change(REF, before, lambda pod: adopt.reset(pod, attempts))
    found = kept.load(REF.uid)

    assert found is not None
    assert {name: each.resets for name, each in found.containers.items()} == {"a": (0,), "b": (3,)}
    assert found.container("a").made_of[0].image == "a"
