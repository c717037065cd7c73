"""Recordings of a chaos run, as short as a test's fact lets them be."""

import dataclasses
from typing import Any

from e2e.chaos.recording import (
    Command,
    Container,
    Ending,
    Machine,
    Process,
    Recording,
    Run,
    Version,
)

UID = "u"


def process(pid: int, name: str = "wasm:main") -> Process:
    """Give a process that began after those of lower pids."""
    return Process(pid, pid * 10, name)


def run(number: int, **fields: Any) -> Run:
    """Give a run that lives, and began at this second."""
    began = {"nonce": f"n{number}", "process": process(number), "began": float(number)}
    return Run(**{"uid": UID, "pod": "ns/p", "container": "main", **began, **fields})


def over(number: int, told: int | None = None, **fields: Any) -> Run:
    """Give a run that ended half a second after it had begun."""
    return run(number, told=told, ended=number + 0.5, **fields)


def container(restarts: int, ending: int | None = None, last: int | None = None) -> Container:
    """Give a status: codes of its state and of its lastState."""
    ended = None if ending is None else Ending(restarts, ending, "Error")
    before = None if last is None else Ending(restarts - 1, last, "Error")
    return Container(restarts, restarts, running=ended is None, ending=ended, last=before)


def version(container: Container | None, **fields: Any) -> Version:
    """Give a version of the one pod, whose container is `main`."""
    made = Version(
        at=0.0,
        uid=UID,
        name="ns/p",
        workload="w",
        gone=False,
        deleting=False,
        phase="Running",
        reason="",
        restart="Always",
        sidecars=frozenset(),
        inits=(),
        containers={} if container is None else {"main": container},
    )
    return dataclasses.replace(made, **fields)


def recording(runs: tuple[Run, ...], *versions: Version, **fields: Any) -> Recording:
    """Give a recording of a machine on which all is as it should be."""
    alive = frozenset(each.process for each in runs if each.ended is None and each.process)
    machine = Machine(alive, ("wasm-node fork", "wasm-node super"), {})
    given = {"kills": (), "forced": frozenset(), "wanted": {}, "machine": machine, **fields}
    return Recording(runs, versions, **given)


def command(number: float, what: str, told: int | None = 0, **fields: Any) -> Command:
    """Give a command that began at this time and is over."""
    process = Process(1000 + int(number * 10), int(number * 10), "exec:main")
    given = {"nonce": f"c{number}", "process": process, "born": number, "began": number}
    given |= {"uid": UID, "pod": "ns/p", "container": "main", "what": what}
    return Command(**{**given, "told": told, "ended": number, **fields})
