"""What an audit finds of a pod's life: each broken rule, and nothing else."""

import dataclasses
from typing import Any

import pytest

from e2e.chaos import audit, findings
from e2e.chaos.recording import Container, Kill, Machine, Recording, Run
from tests.unit.chaos import stories
from tests.unit.chaos.stories import command, over, process, recording, run, version

_UP = Container(0, 0, running=True, ending=None, last=None, ready=True, started=True)
_DELETED = {"at": 5.0, "deleting": True}
_GONE = {"at": 9.0, "deleting": True, "gone": True, "phase": "Failed", "grace_s": 0.0}


def _hooked(*what: str, **fields: Any) -> dict[str, Any]:
    """Give the fields of a version whose container has such commands."""
    return {"commands": {"main": frozenset(what)}, **fields}


def _started(*commands: Any) -> Recording:
    """Give the story of one that is ready and has both commands of a start."""
    known = version(_UP, **_hooked("postStart", "startup"))
    return recording((run(1),), known, commands=commands)


_POST_START, _STARTUP = command(1.2, "postStart"), command(1.3, "startup")


def _stopped(*commands: Any, grace_s: float = 3.0, **fields: Any) -> Recording:
    """Give the story of one that was deleted, and ended a second later."""
    about = _hooked("preStop", grace_s=grace_s)
    versions = (version(_UP, **about), version(_UP, **about, **_DELETED))
    ended = version(stories.container(0, 143), **about | _GONE)
    given = {"commands": commands, **fields}
    return recording((run(1, ended=6.0),), *versions, ended, **given)


def _ordered(*runs: Run, commands: tuple[Any, ...] = (), **fields: Any) -> Recording:
    """Give the story of a pod of an init container, two sidecars and `main`."""
    counts = {"first": (0, 0), "early": (0, None), "late": (0, None), "main": (0, None)}
    about: dict[str, Any] = {
        "inits": ("first", "early", "late"),
        "sidecars": frozenset({"early", "late"}),
        "commands": {"early": frozenset({"startup"})},
        "containers": {name: stories.container(*each) for name, each in counts.items()},
        **fields,
    }
    return recording(runs, version(None, **about), commands=commands)


def _side(number: int, name: str, **fields: Any) -> Run:
    return run(number, container=name, process=process(number, f"wasm:{name}"), **fields)


_FIRST = over(1, 0, container="first")
_EARLY, _LATE, _MAIN = _side(2, "early"), _side(3, "late"), run(4)
_PASSED = command(2.5, "startup", container="early")
_IN_ORDER = _ordered(_FIRST, _EARLY, _LATE, _MAIN, commands=(_PASSED,))


def _ending(*ends: float, restart: str = "Always", deleted_at: float | None = 10.0) -> Recording:
    """Give the story of the same pod, deleted: ends of main, late and early."""
    main, late, early = ends
    runs = (
        _FIRST,
        dataclasses.replace(_EARLY, ended=early),
        dataclasses.replace(_LATE, ended=late),
        dataclasses.replace(_MAIN, ended=main, told=None if deleted_at else 0),
    )
    given = _ordered(*runs, commands=(_PASSED,), restart=restart, at=1.0)
    (before,) = given.versions
    codes = {"first": 0, "early": 143, "late": 143, "main": 143 if deleted_at else 0}
    containers = {name: stories.container(0, code) for name, code in codes.items()}
    after = dataclasses.replace(before, containers=containers, phase="Failed")
    if deleted_at is None:
        return dataclasses.replace(given, versions=(before, after))
    deleting = dataclasses.replace(before, at=deleted_at, deleting=True)
    gone = dataclasses.replace(after, at=20.0, deleting=True, gone=True, grace_s=0.0)
    return dataclasses.replace(given, versions=(before, deleting, gone))


def _volume(*read: str) -> Recording:
    """Give the story of runs of `main` that have read this, one by one."""
    ended = [over(2 + number, 7, read=each) for number, each in enumerate(read[:-1])]
    last = len(ended)
    about = {
        "first": stories.container(0, 0),
        "main": stories.container(last, last=7 if last else None),
    }
    known = version(None, inits=("first",), containers=about)
    return recording((_FIRST, *ended, run(2 + last, read=read[-1])), known)


def _late(at: float, *runs: Run, **fields: Any) -> Recording:
    """Give the story of a pod that may run for five seconds, at a moment."""
    about = {"deadline_s": 5.0, "begun": True, **fields}
    ending = None if any(each.ended is None for each in runs) else 143
    return recording(runs, version(stories.container(0, ending), at=1.0, **about), at=at)


_FAILED = {"phase": "Failed", "reason": "DeadlineExceeded"}


def _with(found: Recording, machine: Machine) -> Recording:
    return dataclasses.replace(found, machine=machine)


def _commands(found: Recording, **ages: float) -> Recording:
    """Have processes of commands run on, by `c` and their pid."""
    given = {process(int(pid[1:]), "exec:main"): age_s for pid, age_s in ages.items()}
    return _with(found, dataclasses.replace(found.machine, commands=given))


_CHECKED = command(1.2, "liveness", process=process(12, "exec:main"))
_CHECKING = recording((run(1),), version(_UP, **_hooked("liveness")), commands=(_CHECKED,))
_UNCHECKED = recording(
    (over(1),), version(stories.container(0, 143), **_DELETED), commands=(_CHECKED,)
)
_EMPTY = recording((over(1),), version(stories.container(0, 143), **_GONE), commands=(_CHECKED,))


def _restarted(*commands: Any, what: str = "liveness", ready: bool = True) -> Recording:
    """Give the story of one that was stopped, and begun anew."""
    before = dataclasses.replace(_UP, ready=ready, started=ready)
    after = stories.container(1, last=143)
    about = _hooked(what)
    versions = (version(before, **about), version(after, **about))
    return recording((over(1), run(2)), *versions, commands=commands)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(_started(_POST_START, _STARTUP), id="it has started"),
        pytest.param(_stopped(command(5.5, "preStop")), id="its hook was called"),
        pytest.param(_stopped(grace_s=1.0), id="a hook had no time"),
        pytest.param(_stopped(breaks=(5.5,)), id="the hook was killed"),
        pytest.param(_stopped(breaks=(3.0,)), id="a hook could not be called yet"),
        pytest.param(_stopped(forced=frozenset({stories.UID})), id="deleted by force"),
        pytest.param(_restarted(command(1.4, "liveness", 1)), id="it failed its check"),
        pytest.param(_restarted(command(1.4, "liveness", None)), id="its check hung"),
        pytest.param(_restarted(what="postStart", ready=False), id="its hook failed"),
        pytest.param(_IN_ORDER, id="in order"),
        pytest.param(
            _ordered(
                _FIRST, _EARLY, _MAIN, dataclasses.replace(_LATE, began=5.0), commands=(_PASSED,)
            ),
            id="a sidecar speaks late",
        ),
        pytest.param(_ending(11.0, 11.5, 12.0), id="sidecars last, in reverse"),
        pytest.param(_ending(13.0, 13.0, 12.9), id="out of time together"),
        pytest.param(_ending(14.0, 12.0, 12.0, restart="Never"), id="it may finish its work"),
        pytest.param(_ending(6.0, 6.5, 7.0, deleted_at=None, restart="Never"), id="a pod is done"),
        pytest.param(_volume("n1"), id="it read what was written"),
        pytest.param(_volume("n1", "n1"), id="and again after a restart"),
        pytest.param(_late(5.5, run(1)), id="it has time"),
        pytest.param(_late(7.0, over(1), **_FAILED), id="it had its time"),
        pytest.param(_commands(_CHECKING, c12=0.5), id="a check is under way"),
        pytest.param(_commands(_CHECKING, c99=0.5), id="a check has not spoken"),
    ],
)
def test_a_good_life_has_no_findings(found: Recording) -> None:
    """What happens at the right time, or is a fault's, is all right."""
    assert audit.audit(found) == []


_MAIN_KILLED = Kill(5.5, process(1))


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        pytest.param(
            _started(_STARTUP), findings.HOOK, "ready, without its postStart", id="no postStart"
        ),
        pytest.param(
            _started(command(1.2, "postStart", 1), _STARTUP),
            findings.HOOK,
            "ready, without its postStart",
            id="a postStart that failed",
        ),
        pytest.param(
            _started(_POST_START), findings.CHECK, "started, without its startup", id="no check"
        ),
        pytest.param(
            _started(command(0.5, "postStart"), _POST_START, _STARTUP),
            findings.HOOK,
            "postStart c0.5 began, and no run",
            id="a hook before its container",
        ),
        pytest.param(
            _stopped(command(5.5, "preStop"), command(7.5, "preStop")),
            findings.HOOK,
            "preStop c7.5 began, and no run",
            id="a hook after its container",
        ),
        pytest.param(_stopped(), findings.HOOK, "preStop hook was not called", id="no preStop"),
        pytest.param(
            _stopped(command(0.5, "liveness"), command(5.5, "preStop")),
            findings.CHECK,
            "liveness c0.5 began, and no run",
            id="a check before its container",
        ),
        pytest.param(_restarted(), findings.LOST, "nobody told", id="stopped for nothing"),
        pytest.param(
            _restarted(command(1.4, "liveness", 0)),
            findings.LOST,
            "nobody told",
            id="stopped for a check that passed",
        ),
        pytest.param(
            _ordered(_FIRST, _EARLY, _LATE, _MAIN),
            findings.ORDER,
            "ns/p/main: run n4 has begun after 0.00 and before early",
            id="before a sidecar's check",
        ),
        pytest.param(
            _ordered(_FIRST, _EARLY, run(4), _side(5, "late"), commands=(_PASSED,)),
            findings.ORDER,
            "ns/p/main: run n4 has begun after 0.00 and before late",
            id="before a sidecar's start",
        ),
        pytest.param(
            _ordered(
                _EARLY, _LATE, over(3, 0, container="first", nonce="f"), _MAIN, commands=(_PASSED,)
            ),
            findings.ORDER,
            "ns/p/early: run n2 has begun after 0.00 and before first",
            id="a sidecar before its turn",
        ),
        pytest.param(
            _ending(11.5, 11.0, 12.0),
            findings.ORDER,
            "ns/p/late: run n3 was stopped before main had ended",
            id="a sidecar does not wait for main",
        ),
        pytest.param(
            _ending(11.0, 12.0, 11.5),
            findings.ORDER,
            "ns/p/early: run n2 was stopped before late had ended",
            id="a sidecar does not wait for another",
        ),
        pytest.param(
            _ending(9.0, 8.0, 9.5, deleted_at=None, restart="Never"),
            findings.ORDER,
            "ns/p/late: run n3 was stopped before main had ended",
            id="a sidecar ends while main works",
        ),
        pytest.param(
            _volume("-"), findings.VOLUME, "has read -, and first wrote n1", id="an empty volume"
        ),
        pytest.param(
            _volume("n1", "x"), findings.VOLUME, "has read x", id="another volume after a restart"
        ),
        pytest.param(
            _with(
                _EMPTY,
                Machine(
                    frozenset(),
                    (),
                    {"directory state/pods/UID/volumes/shared": frozenset({stories.UID})},
                ),
            ),
            findings.ORPHAN,
            "left directory state/pods/UID/volumes/shared",
            id="a volume is left",
        ),
        pytest.param(
            _late(6.5, run(1)), findings.DEADLINE, "0.5 s ago, and these run: main", id="it runs on"
        ),
        pytest.param(
            _late(6.5, over(1), phase="Failed", reason="Evicted"),
            findings.DEADLINE,
            "it is Failed Evicted",
            id="it failed for something else",
        ),
        pytest.param(
            _commands(_CHECKING, c99=20.0),
            findings.ORPHAN,
            "a command of a container has run for 20 s",
            id="a check runs for ever",
        ),
        pytest.param(
            _commands(_UNCHECKED, c12=0.5),
            findings.ORPHAN,
            "liveness of ns/p/main, which has ended",
            id="a check outlives its container",
        ),
        pytest.param(
            _commands(_EMPTY, c99=0.5), findings.ORPHAN, "no pod", id="a check outlives its pod"
        ),
    ],
)
def test_a_broken_rule_is_found(found: Recording, kind: str, words: str) -> None:
    """Each is named for what it is, and nothing else is found."""
    told = audit.audit(found)

    assert {each.kind for each in told} == {kind}, told
    assert any(words in str(each) for each in told), told


def test_a_killed_container_is_owed_no_hook() -> None:
    """It was dead before it could be told to end."""
    told = audit.audit(_stopped(kills=(_MAIN_KILLED,)))

    assert findings.HOOK not in {each.kind for each in told}
