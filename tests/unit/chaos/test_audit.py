"""The audit of a chaos run finds each broken promise, and nothing else."""

import dataclasses
from typing import Any

import pytest

from e2e.chaos import audit
from e2e.chaos.recording import (
    Container,
    Ending,
    Kill,
    Machine,
    Process,
    Recording,
    Run,
    Version,
    Wanted,
)

_UID = "u"


def _process(pid: int, name: str = "wasm:main") -> Process:
    return Process(pid, pid * 10, name)


def _run(number: int, **fields: Any) -> Run:
    began = {"nonce": f"n{number}", "process": _process(number), "began": float(number)}
    return Run(**{"uid": _UID, "pod": "ns/p", "container": "main", **began, **fields})


def _over(number: int, told: int | None = None, **fields: Any) -> Run:
    return _run(number, told=told, ended=number + 0.5, **fields)


def _container(restarts: int, ending: int | None = None, last: int | None = None) -> Container:
    """Give a status: codes of its state and of its lastState."""
    ended = None if ending is None else Ending(restarts, ending, "Error")
    before = None if last is None else Ending(restarts - 1, last, "Error")
    return Container(restarts, restarts, running=ended is None, ending=ended, last=before)


def _version(container: Container | None, **fields: Any) -> Version:
    made = Version(
        at=0.0,
        uid=_UID,
        name="ns/p",
        workload="w",
        gone=False,
        deleting=False,
        phase="Running",
        reason="",
        restart="Always",
        sidecars=frozenset(),
        inits=frozenset(),
        containers={} if container is None else {"main": container},
    )
    return dataclasses.replace(made, **fields)


def _recording(runs: tuple[Run, ...], *versions: Version, **fields: Any) -> Recording:
    alive = frozenset(each.process for each in runs if each.ended is None and each.process)
    machine = Machine(alive, ("wasm-node fork", "wasm-node super"), {})
    given = {"kills": (), "forced": frozenset(), "wanted": {}, "machine": machine, **fields}
    return Recording(runs, versions, **given)


_ONE = _recording((_run(1),), _version(_container(0)), wanted={"w": Wanted(running=1)})
_GONE = {"deleting": True, "gone": True, "phase": "Failed"}
_DONE = _version(_container(0, 0), phase="Succeeded", restart="Never")
_CRASHED = (_over(1, 7), _over(2, 7), _run(3))
_KILL = Kill(0.0, _process(1))


_INIT = {"container": "init"}
_INIT_AGAIN = (_over(1, 0, **_INIT), _over(2), _over(4, 0, **_INIT), _run(5))
_MAIN_FIRST = (_over(1, 0, **_INIT), _over(2), _run(4), _over(5, 0, **_INIT))


def _under_two_runtimes(runs: tuple[Run, ...], *deaths: float) -> Recording:
    containers = {"init": _container(1, 0, last=0), "main": _container(1, last=137)}
    version = _version(None, inits=frozenset({"init"}), containers=containers)
    return _recording(runs, version, kills=(Kill(3.0, _process(2)),), deaths=deaths)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(_ONE, id="it runs"),
        pytest.param(_recording((), _version(None)), id="it has not begun"),
        pytest.param(_recording((_over(1, 0),), _DONE), id="it is done"),
        pytest.param(
            _recording(_CRASHED, _version(_container(1, last=7)), _version(_container(2, last=7))),
            id="it crashed twice",
        ),
        pytest.param(_recording(_CRASHED, _version(_container(2, last=7))), id="once unseen"),
        pytest.param(
            _recording((_over(1), _run(2)), _version(_container(1, last=137)), kills=(_KILL,)),
            id="it was killed",
        ),
        pytest.param(
            _recording((_over(1, 7), _run(2)), _version(_container(1, last=7)), kills=(_KILL,)),
            id="it was killed when it had ended",
        ),
        pytest.param(
            _recording((_run(2),), _version(_container(1, last=137)), kills=(_KILL,)),
            id="it was killed before it could speak",
        ),
        pytest.param(
            _recording(
                (_over(1, process=None), _run(2)),
                _version(_container(1, last=137)),
                kills=(_KILL,),
            ),
            id="it was killed while it spoke",
        ),
        pytest.param(
            _recording((_over(1),), _version(_container(0, 143), **_GONE)), id="it was deleted"
        ),
        pytest.param(
            _recording((), _version(_container(0, 0), **_GONE)), id="a server was, unasked"
        ),
        pytest.param(
            _recording((), _version(_container(0, 143), **_GONE)), id="deleted before it spoke"
        ),
        pytest.param(
            _recording((_over(1, process=None),), _version(_container(0, 143), **_GONE)),
            id="deleted while it spoke",
        ),
        pytest.param(
            _recording(
                (_over(1, process=None),),
                _version(_container(0), **_GONE),
                forced=frozenset({_UID}),
            ),
            id="deleted by force while it spoke",
        ),
        pytest.param(
            _recording((_over(1, serves=True),), _version(_container(0, 0), **_GONE)),
            id="a server was deleted",
        ),
        pytest.param(
            _recording((_over(1),), _version(None, **_GONE), forced=frozenset({_UID})),
            id="it was deleted by force",
        ),
        pytest.param(
            _recording(
                (_over(1, 0),),
                dataclasses.replace(_DONE, gone=True),
                wanted={"w": Wanted(completions=1, reported=1)},
            ),
            id="a job is complete",
        ),
        pytest.param(
            _recording(
                (_over(1, 0), _over(2, 0, uid="v")),
                _DONE,
                dataclasses.replace(_DONE, uid="v", deleting=True),
                wanted={"w": Wanted(completions=1, reported=1)},
            ),
            id="a pod of it was deleted and completed",
        ),
        pytest.param(
            _recording(
                (_over(1, container="side"),),
                _version(None, containers={"side": _container(0, 143)}, sidecars={"side"}),
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
            _recording((_over(1), _run(2)), _version(_container(0))),
            audit.TWICE,
            "2 runs of 1 attempts",
            id="one attempt, two runs",
        ),
        pytest.param(
            _recording((_run(1), _run(2)), _version(_container(1, last=7))),
            audit.ORPHAN,
            "the API has its end",
            id="an attempt lives on",
        ),
        pytest.param(
            _recording((_over(1, 7), _run(2, beside=("n1",))), _version(_container(1, last=7))),
            audit.TWICE,
            "while n1 was alive",
            id="side by side",
        ),
        pytest.param(
            _recording((_over(1, 7), _run(2, nonce="n1")), _version(_container(1, last=7))),
            audit.TWICE,
            "this number for their own",
            id="one randomness",
        ),
        pytest.param(
            _recording((_over(1, 7),), _version(_container(0))),
            audit.LOST,
            "the API does not know",
            id="a lost exit",
        ),
        pytest.param(
            _recording((_over(1),), _version(_container(0, 137))),
            audit.LOST,
            "nobody told, stopped or killed it",
            id="it died of nothing",
        ),
        pytest.param(
            _recording((_over(1, 7),), _version(_container(0, 0))),
            audit.EXIT,
            "and it is 7",
            id="a wrong code",
        ),
        pytest.param(
            _recording((), _version(_container(0, 0), **_GONE, restart="Never")),
            audit.LOST,
            "nobody killed them",
            id="a success that never was",
        ),
        pytest.param(
            _recording((_over(1, process=None), _run(2)), _version(_container(1, last=137))),
            audit.LOST,
            "nobody killed them",
            id="it died of nothing while it spoke",
        ),
        pytest.param(
            _recording((_over(1),), _version(_container(0, 255)), kills=(_KILL,)),
            audit.EXIT,
            "and it is 137",
            id="a wrong code of a kill",
        ),
        pytest.param(
            _recording((_over(1, 7),), _version(_container(0, 7)), _version(_container(0, 8))),
            audit.EXIT,
            "two endings",
            id="two endings",
        ),
        pytest.param(
            _recording((_run(2),), _version(_container(1, last=137))),
            audit.LOST,
            "nobody killed them",
            id="an attempt that never was",
        ),
        pytest.param(
            _recording(
                (_over(1, 0), _run(2)), _version(_container(1, last=0), restart="OnFailure")
            ),
            audit.RESTARTS,
            "under OnFailure",
            id="done, and restarted",
        ),
        pytest.param(
            _under_two_runtimes(_INIT_AGAIN),
            audit.RESTARTS,
            "under OnFailure",
            id="an init container, restarted for nothing",
        ),
        pytest.param(
            _under_two_runtimes(_MAIN_FIRST, 3.0),
            audit.ORDER,
            "before init",
            id="begun anew, and not from the start",
        ),
        pytest.param(
            _recording((_over(1, 1), _run(2)), _version(_container(1, last=1), restart="Never")),
            audit.RESTARTS,
            "under Never",
            id="restarted for nothing",
        ),
        pytest.param(
            _recording(_CRASHED, _version(_container(2, last=7)), _version(_container(1, last=7))),
            audit.RESTARTS,
            "went from 2 to 1",
            id="a restart count goes down",
        ),
        pytest.param(
            _recording((_over(1, 7), _run(2)), _version(_container(1))),
            audit.RESTARTS,
            "no end is told",
            id="a restart without a reason",
        ),
        pytest.param(
            _recording((_run(1),), _version(_container(0), gone=True)),
            audit.ORPHAN,
            "its pod is gone",
            id="a run of a pod that is gone",
        ),
        pytest.param(
            _recording((_run(1),)), audit.ORPHAN, "no such pod", id="a run of no pod at all"
        ),
        pytest.param(
            _recording((), _version(_container(0))), audit.LOST, "no guest of it lives", id="dead"
        ),
        pytest.param(
            _changed(_ONE, wanted={"w": Wanted(running=2)}), audit.LOST, "1 of 2", id="one too few"
        ),
        pytest.param(
            _changed(_ONE, wanted={"w": Wanted(running=0)}), audit.TWICE, "1 of 0", id="too many"
        ),
        pytest.param(
            _recording((), wanted={"w": Wanted(completions=1, reported=1)}),
            audit.LOST,
            "0 pods succeeded",
            id="a completion is lost",
        ),
        pytest.param(
            _recording((_over(1, 0),), _DONE, wanted={"w": Wanted(completions=1, reported=0)}),
            audit.LOST,
            "counts 0 of 1",
            id="a completion is not counted",
        ),
        pytest.param(
            _recording(
                (_over(1, 0), _over(2, 0, uid="v")),
                _DONE,
                dataclasses.replace(_DONE, uid="v"),
                wanted={"w": Wanted(completions=1, reported=1)},
            ),
            audit.TWICE,
            "2 pods succeeded",
            id="one completion too many",
        ),
        pytest.param(
            _left(workers=frozenset({_process(1), _process(9)})),
            audit.ORPHAN,
            "no guest that lives",
            id="a process",
        ),
        pytest.param(
            _left(others=("python",)), audit.ORPHAN, "below the runtime", id="another process"
        ),
        pytest.param(
            _left(pods={"directory state/pods/UID": frozenset({_UID, "v"})}),
            audit.ORPHAN,
            "left directory state/pods/UID",
            id="a directory",
        ),
        pytest.param(_left(strays=frozenset({"mount x"})), audit.ORPHAN, "of no pod", id="a mount"),
    ],
)
def test_a_broken_promise_is_found(found: Recording, kind: str, words: str) -> None:
    """Each is named for what it is, and said in words that show it."""
    findings = audit.audit(found)

    assert kind in {each.kind for each in findings}, findings
    assert any(words in str(each) for each in findings if each.kind == kind), findings


def test_a_finding_names_what_it_is_of() -> None:
    """The line that a person reads has promise, container and proof."""
    (finding,) = audit.audit(_recording((_over(1, 7),), _version(_container(0, 0))))

    assert str(finding) == (
        "exit code: ns/p/main: run n1, attempt 0: "
        "the API has Ending(attempt=0, code=0, reason='Error'), and it is 7"
    )
