"""The audit of a chaos run finds each broken promise, and nothing else."""

import dataclasses
from typing import Any

import pytest

from e2e.chaos import audit, findings
from e2e.chaos.recording import Kill, Recording, Run, Wanted
from tests.unit.chaos import stories

_ONE = stories.recording(
    (stories.run(1),), stories.version(stories.container(0)), wanted={"w": Wanted(running=1)}
)
_GONE = {"deleting": True, "gone": True, "phase": "Failed"}
_DONE = stories.version(stories.container(0, 0), phase="Succeeded", restart="Never")
_CRASHED = (stories.over(1, 7), stories.over(2, 7), stories.run(3))
_KILL = Kill(0.0, stories.process(1))


_INIT = {"container": "init"}
_INIT_AGAIN = (
    stories.over(1, 0, **_INIT),
    stories.over(2),
    stories.over(4, 0, **_INIT),
    stories.run(5),
)
_MAIN_FIRST = (
    stories.over(1, 0, **_INIT),
    stories.over(2),
    stories.run(4),
    stories.over(5, 0, **_INIT),
)


def _under_two_runtimes(runs: tuple[Run, ...], *deaths: float) -> Recording:
    containers = {"init": stories.container(1, 0, last=0), "main": stories.container(1, last=137)}
    version = stories.version(None, inits=("init",), containers=containers)
    return stories.recording(runs, version, kills=(Kill(3.0, stories.process(2)),), deaths=deaths)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(_ONE, id="it runs"),
        pytest.param(stories.recording((), stories.version(None)), id="it has not begun"),
        pytest.param(stories.recording((stories.over(1, 0),), _DONE), id="it is done"),
        pytest.param(
            stories.recording(
                _CRASHED,
                stories.version(stories.container(1, last=7)),
                stories.version(stories.container(2, last=7)),
            ),
            id="it crashed twice",
        ),
        pytest.param(
            stories.recording(_CRASHED, stories.version(stories.container(2, last=7))),
            id="once unseen",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1), stories.run(2)),
                stories.version(stories.container(1, last=137)),
                kills=(_KILL,),
            ),
            id="it was killed",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 7), stories.run(2)),
                stories.version(stories.container(1, last=7)),
                kills=(_KILL,),
            ),
            id="it was killed when it had ended",
        ),
        pytest.param(
            stories.recording(
                (stories.run(2),), stories.version(stories.container(1, last=137)), kills=(_KILL,)
            ),
            id="it was killed before it could speak",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, process=None), stories.run(2)),
                stories.version(stories.container(1, last=137)),
                kills=(_KILL,),
            ),
            id="it was killed while it spoke",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1),), stories.version(stories.container(0, 143), **_GONE)
            ),
            id="it was deleted",
        ),
        pytest.param(
            stories.recording((), stories.version(stories.container(0, 0), **_GONE)),
            id="a server was, unasked",
        ),
        pytest.param(
            stories.recording((), stories.version(stories.container(0, 143), **_GONE)),
            id="deleted before it spoke",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, process=None),),
                stories.version(stories.container(0, 143), **_GONE),
            ),
            id="deleted while it spoke",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, process=None),),
                stories.version(stories.container(0), **_GONE),
                forced=frozenset({stories.UID}),
            ),
            id="deleted by force while it spoke",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, serves=True),), stories.version(stories.container(0, 0), **_GONE)
            ),
            id="a server was deleted",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1),), stories.version(None, **_GONE), forced=frozenset({stories.UID})
            ),
            id="it was deleted by force",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 0),),
                dataclasses.replace(_DONE, gone=True),
                wanted={"w": Wanted(completions=1, reported=1)},
            ),
            id="a job is complete",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 0), stories.over(2, 0, uid="v")),
                _DONE,
                dataclasses.replace(_DONE, uid="v", deleting=True),
                wanted={"w": Wanted(completions=1, reported=1)},
            ),
            id="a pod of it was deleted and completed",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, container="side"),),
                stories.version(
                    None, containers={"side": stories.container(0, 143)}, sidecars={"side"}
                ),
            ),
            id="a sidecar was stopped",
        ),
        pytest.param(_under_two_runtimes(_INIT_AGAIN, 3.0), id="its runtime was killed"),
    ],
)
def test_a_good_run_has_no_findings(found: Recording) -> None:
    """Whatever users and faults do to a pod, its true story is all right."""
    assert audit.audit(found) == []


def _changed(found: Recording, **fields: Any) -> Recording:
    return dataclasses.replace(found, **fields)


def _left(**fields: Any) -> Recording:
    return _changed(_ONE, machine=dataclasses.replace(_ONE.machine, **fields))


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        pytest.param(
            stories.recording(
                (stories.over(1), stories.run(2)), stories.version(stories.container(0))
            ),
            findings.TWICE,
            "2 runs of 1 attempts",
            id="one attempt, two runs",
        ),
        pytest.param(
            stories.recording(
                (stories.run(1), stories.run(2)), stories.version(stories.container(1, last=7))
            ),
            findings.ORPHAN,
            "the API has its end",
            id="an attempt lives on",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 7), stories.run(2, beside=("n1",))),
                stories.version(stories.container(1, last=7)),
            ),
            findings.TWICE,
            "while n1 was alive",
            id="side by side",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 7), stories.run(2, nonce="n1")),
                stories.version(stories.container(1, last=7)),
            ),
            findings.TWICE,
            "this number for their own",
            id="one randomness",
        ),
        pytest.param(
            stories.recording((stories.over(1, 7),), stories.version(stories.container(0))),
            findings.LOST,
            "the API does not know",
            id="a lost exit",
        ),
        pytest.param(
            stories.recording((stories.over(1),), stories.version(stories.container(0, 137))),
            findings.LOST,
            "nobody told, stopped or killed it",
            id="it died of nothing",
        ),
        pytest.param(
            stories.recording((stories.over(1, 7),), stories.version(stories.container(0, 0))),
            findings.EXIT,
            "and it is 7",
            id="a wrong code",
        ),
        pytest.param(
            stories.recording(
                (), stories.version(stories.container(0, 0), **_GONE, restart="Never")
            ),
            findings.LOST,
            "nobody killed them",
            id="a success that never was",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, process=None), stories.run(2)),
                stories.version(stories.container(1, last=137)),
            ),
            findings.LOST,
            "nobody killed them",
            id="it died of nothing while it spoke",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1),), stories.version(stories.container(0, 255)), kills=(_KILL,)
            ),
            findings.EXIT,
            "and it is 137",
            id="a wrong code of a kill",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 7),),
                stories.version(stories.container(0, 7)),
                stories.version(stories.container(0, 8)),
            ),
            findings.EXIT,
            "two endings",
            id="two endings",
        ),
        pytest.param(
            stories.recording((stories.run(2),), stories.version(stories.container(1, last=137))),
            findings.LOST,
            "nobody killed them",
            id="an attempt that never was",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 0), stories.run(2)),
                stories.version(stories.container(1, last=0), restart="OnFailure"),
            ),
            findings.RESTARTS,
            "under OnFailure",
            id="done, and restarted",
        ),
        pytest.param(
            _under_two_runtimes(_INIT_AGAIN),
            findings.RESTARTS,
            "under OnFailure",
            id="an init container, restarted for nothing",
        ),
        pytest.param(
            _under_two_runtimes(_MAIN_FIRST, 3.0),
            findings.ORDER,
            "before init",
            id="begun anew, and not from the start",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 1), stories.run(2)),
                stories.version(stories.container(1, last=1), restart="Never"),
            ),
            findings.RESTARTS,
            "under Never",
            id="restarted for nothing",
        ),
        pytest.param(
            stories.recording(
                _CRASHED,
                stories.version(stories.container(2, last=7)),
                stories.version(stories.container(1, last=7)),
            ),
            findings.RESTARTS,
            "went from 2 to 1",
            id="a restart count goes down",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 7), stories.run(2)), stories.version(stories.container(1))
            ),
            findings.RESTARTS,
            "no end is told",
            id="a restart without a reason",
        ),
        pytest.param(
            stories.recording((stories.run(1),), stories.version(stories.container(0), gone=True)),
            findings.ORPHAN,
            "its pod is gone",
            id="a run of a pod that is gone",
        ),
        pytest.param(
            stories.recording((stories.run(1),)),
            findings.ORPHAN,
            "no such pod",
            id="a run of no pod at all",
        ),
        pytest.param(
            stories.recording((), stories.version(stories.container(0))),
            findings.LOST,
            "no guest of it lives",
            id="dead",
        ),
        pytest.param(
            _changed(_ONE, wanted={"w": Wanted(running=2)}),
            findings.LOST,
            "1 of 2",
            id="one too few",
        ),
        pytest.param(
            _changed(_ONE, wanted={"w": Wanted(running=0)}), findings.TWICE, "1 of 0", id="too many"
        ),
        pytest.param(
            stories.recording((), wanted={"w": Wanted(completions=1, reported=1)}),
            findings.LOST,
            "0 pods succeeded",
            id="a completion is lost",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 0),), _DONE, wanted={"w": Wanted(completions=1, reported=0)}
            ),
            findings.LOST,
            "counts 0 of 1",
            id="a completion is not counted",
        ),
        pytest.param(
            stories.recording(
                (stories.over(1, 0), stories.over(2, 0, uid="v")),
                _DONE,
                dataclasses.replace(_DONE, uid="v"),
                wanted={"w": Wanted(completions=1, reported=1)},
            ),
            findings.TWICE,
            "2 pods succeeded",
            id="one completion too many",
        ),
        pytest.param(
            _left(workers=frozenset({stories.process(1), stories.process(9)})),
            findings.ORPHAN,
            "no guest that lives",
            id="a process",
        ),
        pytest.param(
            _left(others=("python",)), findings.ORPHAN, "below the runtime", id="another process"
        ),
        pytest.param(
            _left(pods={"directory state/pods/UID": frozenset({stories.UID, "v"})}),
            findings.ORPHAN,
            "left directory state/pods/UID",
            id="a directory",
        ),
        pytest.param(
            _left(strays=frozenset({"mount x"})), findings.ORPHAN, "of no pod", id="a mount"
        ),
    ],
)
def test_a_broken_promise_is_found(found: Recording, kind: str, words: str) -> None:
    """Each is named for what it is, and said in words that show it."""
    told = audit.audit(found)

    assert kind in {each.kind for each in told}, told
    assert any(words in str(each) for each in told if each.kind == kind), told


def test_a_finding_names_what_it_is_of() -> None:
    """The line that a person reads has promise, container and proof."""
    (finding,) = audit.audit(
        stories.recording((stories.over(1, 7),), stories.version(stories.container(0, 0)))
    )

    assert str(finding) == (
        "exit code: ns/p/main: run n1, attempt 0: "
        "the API has Ending(attempt=0, code=0, reason='Error'), and it is 7"
    )
