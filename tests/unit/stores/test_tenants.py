"""What pods have of a node together, kept as they come, change and go."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from tests.unit import summing
from wasm_node.agent.model import desired, ids, observed, parsing, taken
from wasm_node.agent.plan import admission
from wasm_node.agent.stores import pods, tenants
from wasm_node.protocol import records

UIDS = ("a-1", "a-2", "b-1", "c-1")
"""A name and a number: a pod that is made again has the same name."""


def _pod(uid: str, cpu: int = 0, ports: Sequence[int] = (), **fields: Any) -> desired.DesiredPod:
    listed = [{"containerPort": 80, "hostPort": each} for each in ports]
    resources = {"requests": {"cpu": f"{cpu}m", "memory": cpu, "ephemeral-storage": 2 * cpu}}
    container = {"name": "main", "image": "x", "ports": listed, "resources": resources}
    return parsing.pod(
        {
            "metadata": {"name": uid[0], "uid": uid, **fields.pop("metadata", {})},
            "spec": {"containers": [container], **fields.pop("spec", {})},
            "status": fields,
        }
    )


def _seen(what: str) -> observed.ObservedPod:
    attempt = records.AttemptId("u", "main", 0)
    ended = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", 1, 2)
    facts: dict[str, observed.Fact] = {
        "runs": observed.Running(attempt, 7, 1.0),
        "ended": observed.Ended(attempt, ended),
    }
    return observed.ObservedPod(
        1.0,
        {"main": observed.ObservedContainer(current=facts.get(what))},
        rejected=observed.Rejected("r", "m") if what == "rejected" else None,
        evicted=observed.Evicted("m", 1.0, 1.0) if what == "evicted" else None,
    )


_FIELDS = st.sampled_from(
    [
        {},
        {"phase": "Failed"},
        {"startTime": "2027-01-15T07:00:00Z"},
        {"spec": {"restartPolicy": "Never"}},
        {"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}},
    ]
)
_PODS = st.builds(
    lambda uid, cpu, ports, fields: _pod(uid, cpu, ports, **dict(fields)),
    st.sampled_from(UIDS),
    st.integers(0, 9),
    st.lists(st.integers(1, 3), max_size=2),
    _FIELDS,
)
_SEEN = st.builds(_seen, st.sampled_from(["", "runs", "ended", "rejected", "evicted"]))

_Step: TypeAlias = tuple[str, Any]
_STEPS = st.one_of(
    st.tuples(st.just("want"), _PODS),
    st.tuples(st.just("list"), st.lists(_PODS, max_size=3)),
    st.tuples(st.just("see"), st.tuples(st.sampled_from(UIDS), _SEEN)),
    st.tuples(st.just("forget"), st.sampled_from(UIDS)),
    st.tuples(st.just("drop"), st.sampled_from(UIDS)),
    st.tuples(st.just("reserve"), _PODS),
    st.tuples(st.just("release"), st.none()),
)


class _Bed:
    """Both stores, what is kept, and what it has to be."""

    def __init__(self) -> None:
        self.wanted, self.seen = pods.DesiredStore(), pods.ObservedStore()
        self.reserved: desired.DesiredPod | None = None
        self.kept = self.more()

    def more(self) -> tenants.Tenants:
        """Give one more, which has not heard of what was."""
        return tenants.Tenants(self.wanted, self.seen, admission.has_place)

    def go(self, step: _Step) -> None:
        """Have that happen, if it may."""
        match step:
            case "want", pod:
                self.wanted.put(pod)
            case "list", listed:
                self.wanted.replace(listed)
            case "see", (uid, seen):
                self.seen.put(ids.PodUid(uid), seen)
            case "forget", uid:
                self.seen.forget(ids.PodUid(uid))
            case "drop", uid:
                self._drop(ids.PodUid(uid))
            case "reserve", pod if self.reserved is None:
                self.reserved = pod
                self.kept.reserve(pod)
            case "release", _ if self.reserved is not None:
                self.kept.release(self.reserved)
                self.reserved = None

    def _drop(self, uid: ids.PodUid) -> None:
        """Let go of a pod as the reconciler does."""
        wanted, seen = self.wanted.get(uid), self.seen.get(uid)
        if wanted is not None and wanted.gone and seen is not None and seen.forgotten:
            self.seen.drop(uid)
            self.wanted.drop(uid)

    def anew(self) -> Iterator[desired.DesiredPod]:
        """Look at every pod there is."""
        if self.reserved is not None:
            yield self.reserved
        for each in self.wanted:
            is_reserved = self.reserved is not None and self.reserved.ref.uid == each.ref.uid
            if not is_reserved and admission.has_place(each, self.seen.get(each.ref.uid)):
                yield each


def _plain(found: taken.Taken) -> taken.Taken:
    ports = sorted(found.ports, key=lambda x: (x.by, x.port.host_port))
    return dataclasses.replace(found, ports=ports)


@given(st.lists(_STEPS, max_size=25), _PODS)
def test_what_is_kept_is_what_there_is(steps: list[_Step], newcomer: desired.DesiredPod) -> None:
    """
    After every step of any story, as if all pods were looked at anew.

    For one that comes and for those that are there; and in the end for one who
    begins to keep it only then.
    """
    bed = _Bed()
    for step in steps:
        bed.go(step)
        there = list(bed.anew())

        assert sorted(x.ref for x in bed.kept) == sorted(x.ref for x in there)
        for each in (newcomer, *there):
            assert _plain(bed.kept.beside(each)) == _plain(summing.taken_by(there, each))
    if bed.reserved is None:
        assert _plain(bed.more().beside(newcomer)) == _plain(bed.kept.beside(newcomer))


def test_order_is_that_of_coming() -> None:
    """A pod that changes keeps its place in it."""
    bed = _Bed()
    first, second = _pod("a-1", 1), _pod("b-1", 2)
    for each in (first, second):
        bed.seen.put(each.ref.uid, _seen("runs"))
        bed.wanted.put(each)
    bed.wanted.put(_pod("a-1", 3))

    assert [x.asks.cpu_millis for x in bed.kept] == [3, 2]


def test_whose_ports_they_are() -> None:
    """Only those that the newcomer wants are told, each with its pod."""
    bed = _Bed()
    for each in (_pod("a-1", ports=[1, 2]), _pod("b-1", ports=[3])):
        bed.seen.put(each.ref.uid, _seen("runs"))
        bed.wanted.put(each)
    found = bed.kept.beside(_pod("c-1", ports=[2, 3, 4]))

    assert [(x.by.name, x.port.host_port) for x in found.ports] == [("a", 2), ("b", 3)]
    assert bed.kept.beside(_pod("c-1")).ports == []
