"""Events about denials: each once, and none again after a restart."""

import dataclasses

from tests.fakes.cluster import FakeEvents
from wasm_node.agent.loops import denials
from wasm_node.agent.model import grants, ids, observed, parsing
from wasm_node.agent.plan import adopt
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

_UID = ids.PodUid("u")
_ATTEMPT = records.AttemptId("u", "main", 0)


class Bed:
    """A pod of which something is observed."""

    def __init__(self, *, listed: bool = True) -> None:
        self.wanted, self.seen = pods.DesiredStore(), pods.ObservedStore()
        self.events = FakeEvents()
        denials.Denials(self.wanted, self.seen, self.events)
        container = {"name": "main", "image": "x"}
        meta = {"name": "p", "uid": "u"}
        self.wanted.put(parsing.pod({"metadata": meta, "spec": {"containers": [container]}}))
        self.seen.put(_UID, observed.ObservedPod(started_at=1.0))
        if listed:
            self.seen.listed.set()

    def told(self) -> list[str]:
        """Return what the events say."""
        return [each.message for _, each in self.events.emitted]

    def sees(self, fact: observed.Fact) -> None:
        """Take in a fact."""
        self.seen.change(_UID, "main", lambda was: adopt.apply(was, fact))


def _denied(*words: str) -> tuple[records.Denial, ...]:
    return tuple(records.Denial("connect", each) for each in words)


def _running(*words: str) -> observed.Running:
    return observed.Running(_ATTEMPT, 7, 1.0, _denied(*words))


def test_each_is_told_once() -> None:
    """While it runs, and what only its end has told."""
    bed = Bed()
    how = records.ExitRecord(0, records.EndedBy.ITSELF, "Completed", "", 1, 2)
    a, b = "connections to 192.0.2.1:25", "connections to 192.0.2.2:25"
    for fact in (
        _running(),
        _running(a),
        _running(a),
        observed.Ended(_ATTEMPT, how, _denied(a, b)),
    ):
        bed.sees(fact)

    assert len(bed.told()) == 2
    assert bed.told()[0].startswith(f"Container main was denied {a}: ")
    assert bed.told()[1].startswith(f"Container main was denied {b}: ")


def test_a_new_attempt_is_told_of_anew() -> None:
    """It is another run of the guest."""
    bed = Bed()
    bed.sees(_running("x"))
    bed.sees(dataclasses.replace(_running("x"), id=records.AttemptId("u", "main", 1)))

    assert len(bed.told()) == 2


def test_what_was_there_before_is_not_told_again() -> None:
    """An agent that adopts a pod tells only what comes after that."""
    bed = Bed(listed=False)
    bed.sees(_running("x"))
    bed.seen.listed.set()
    bed.sees(_running("x", "y"))

    assert [each.split(":")[0] for each in bed.told()] == ["Container main was denied y"]


def test_an_event_says_what_would_allow_it() -> None:
    """A name that was not looked up needs another annotation than a target."""
    bed = Bed()
    bed.sees(observed.Running(_ATTEMPT, 7, 1.0, (records.Denial("resolve", "looking up x"),)))

    (said,) = bed.told()
    assert (
        said == f'Container main was denied looking up x: the annotation {grants.DNS} is not "true"'
    )


def test_a_command_is_named() -> None:
    """What it wanted is its own, also where its container wanted the same."""
    bed = Bed()
    mine, its = records.Denial("connect", "x"), records.Denial("connect", "x", "check")
    for denied in ((its,), (its,), (mine, its), (mine,)):  # a new runtime forgets
        bed.sees(observed.Running(_ATTEMPT, 7, 1.0, denied))
    bed.sees(observed.Running(_ATTEMPT, 7, 1.0, (mine, its)))

    assert [each.split(":")[0] for each in bed.told()] == [
        "Command check in container main was denied x",
        "Container main was denied x",
    ]
