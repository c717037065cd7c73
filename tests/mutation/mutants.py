"""
Small faults put into `plan/` one at a time, to see whether tests notice.

`python -m tests.mutation.mutants` tries all and lists those that no test has
noticed; names of modules (`pods restarts`) try those alone. It fails if too
many have not been noticed (`LEAST`, `LEAST_OF_A_MODULE`).

The tests are collected once. Each fault is then tried in a fork of this
process, in which the function that has it is given other code, and by those
tests alone that come through that function. What stands outside of functions
is tried in a fork that has not collected yet, since others may have read it
when they were imported.
"""

import argparse
import collections
import contextlib
import dataclasses
import importlib
import json
import os
import pickle
import resource
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from tests.mutation import equivalent, faults

ROOT = Path(__file__).parents[2]
PACKAGE = "wasm_node.agent.plan"
PLAN = ROOT / "agent" / "wasm_node" / "agent" / "plan"
TESTS = ("tests/golden", "tests/unit/plan", "tests/unit/model", "tests/unit/loops")

LEAST = 0.9
"""The part of all faults that tests have to notice."""
LEAST_OF_A_MODULE = 0.85
"""The same of each module."""

NOTICED = "noticed in plan/"
"""What begins the name of a result in pytest's report; see e2e/report.py."""

_WORKERS = 2
_WITHIN_S = 120.0
_MEMORY_BYTES = 4 * 2**30
_QUIET = ("-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:terminal")

Trial = Callable[[], bool]
"""Tries one fault, in a process of its own; returns whether it was noticed."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of the faults of some modules."""

    tried: Mapping[str, int]
    unnoticed: Sequence[faults.Fault]
    excused: int

    def noticed(self, module: str) -> int:
        """Return how many of a module's faults some test has noticed."""
        return self.tried[module] - sum(each.module == module for each in self.unnoticed)

    def part(self) -> float:
        """Return which part of all was noticed."""
        return 1 - len(self.unnoticed) / max(1, sum(self.tried.values()))

    def too_few(self) -> list[str]:
        """List the modules of which too little was noticed."""
        return [
            name for name, every in self.tried.items()
            if self.noticed(name) < LEAST_OF_A_MODULE * every
        ]  # fmt: skip


def names() -> list[str]:
    """List the modules of `plan/`."""
    return sorted(each.stem for each in PLAN.glob("*.py") if each.stem != "__init__")


def run(modules: Sequence[str]) -> Result:
    """Try every fault of these modules."""
    every = [fault for name in modules for fault in faults.of(PLAN / f"{name}.py")]
    excused, left = equivalent.split(every, modules)
    outside = [each for each in left if not each.function and not _constant(each)]
    inside = [each for each in left if each not in outside]
    if _told(lambda: _pytest() == pytest.ExitCode.OK) is not True:
        raise SystemExit("a test fails without a fault")
    unnoticed = _unnoticed({each: _afresh(each) for each in outside})
    collected = _Collected(inside)
    if _pytest(collected) != pytest.ExitCode.OK:
        raise SystemExit("the tests cannot be collected, or fail without a fault")
    tried = collections.Counter(each.module for each in left)
    unnoticed += collected.unnoticed
    return Result({name: tried[name] for name in modules}, unnoticed, len(excused))


class _Steady:
    """A plugin of pytest: properties try the same each time, end at once."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """Load the profile."""
        import hypothesis  # not sooner: pytest wants to import it itself

        hypothesis.settings.register_profile(
            "mutants",
            derandomize=True,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutants")


def _pytest(*plugins: object) -> int:
    return int(pytest.main([*_QUIET, *(str(ROOT / each) for each in TESTS)], [_Steady(), *plugins]))


def _afresh(fault: faults.Fault) -> Trial:
    """Try a fault of what modules hold: all of them see it from the start."""

    def trial() -> bool:
        module = importlib.import_module(f"{PACKAGE}.{fault.module}")
        exec(_code(fault), module.__dict__)  # noqa: S102  # our own code, changed
        return _pytest() != pytest.ExitCode.OK

    return trial


def _code(fault: faults.Fault) -> types.CodeType:
    return compile(fault.tree, str(PLAN / f"{fault.module}.py"), "exec")


class _Collected:
    """A plugin of pytest: try faults instead of running the tests once."""

    def __init__(self, left: Sequence[faults.Fault]) -> None:
        self._left = left
        self.unnoticed: list[faults.Fault] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Find out which tests come where, and then try each fault."""
        came = cast(_Came, _told(lambda: _record(session.items)))
        if came is None:
            session.shouldfail = "a test fails without a fault"
            return True
        self.unnoticed = _unnoticed(
            {
                each: _swapped(each, [session.items[x] for x in _tests(each, came)])
                for each in self._left
            }
        )
        return True


_Came = dict[tuple[str, str], list[int]] | None
"""Which tests come through a function of a module, the quickest first."""


def _constant(fault: faults.Fault) -> str:
    """Return the module's own constant that it changes; empty: none."""
    name = fault.text.partition(" = ")[0]
    return name if not fault.function and name.startswith("_") and name.isidentifier() else ""


def _tests(fault: faults.Fault, came: Mapping[tuple[str, str], Sequence[int]]) -> Sequence[int]:
    """List the tests that come to a fault, the quickest first."""
    file = str(PLAN / f"{fault.module}.py")
    if fault.function:
        return came.get((file, fault.function), ())
    found = [index for (where, _), each in came.items() if where == file for index in each]
    return list(dict.fromkeys(found))


def _record(items: Sequence[pytest.Item]) -> _Came:
    """Run all tests; None if one fails."""
    came: dict[tuple[str, str], list[tuple[float, int]]] = collections.defaultdict(list)
    here = set[tuple[str, str]]()

    def watch(frame: types.FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PLAN)):
            here.add((code.co_filename, code.co_qualname.split(".<locals>")[0]))

    threading.setprofile(watch)
    sys.setprofile(watch)
    for index, item in enumerate(items):
        here.clear()
        began = time.monotonic()
        if _fails(item):
            return None
        for each in here:
            came[each].append((time.monotonic() - began, index))
    return {each: [index for _, index in sorted(found)] for each, found in came.items()}


def _fails(item: pytest.Item) -> bool:
    before = item.session.testsfailed
    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
    return item.session.testsfailed > before


def _swapped(fault: faults.Fault, items: Sequence[pytest.Item]) -> Trial:
    """Try a fault of a function or constant by the tests that come to it."""

    def trial() -> bool:
        module = importlib.import_module(f"{PACKAGE}.{fault.module}")
        scratch: dict[str, Any] = {"__name__": module.__name__}
        exec(_code(fault), scratch)  # noqa: S102  # our own code, changed
        if fault.function:
            _give(_function(module.__dict__, fault), _function(scratch, fault))
        else:
            setattr(module, _constant(fault), scratch[_constant(fault)])
        return any(_fails(each) for each in items)

    return trial


def _function(held: Mapping[str, Any], fault: faults.Fault) -> types.FunctionType:
    found: Any = None
    for name in fault.function.split("."):
        found = held[name]
        held = getattr(found, "__dict__", {})
    for wrapped in ("fget", "__func__", "__wrapped__"):
        found = getattr(found, wrapped, found)
    assert isinstance(found, types.FunctionType), fault.function
    return found


def _give(function: types.FunctionType, changed: types.FunctionType) -> None:
    function.__code__ = changed.__code__
    function.__defaults__ = changed.__defaults__
    function.__kwdefaults__ = changed.__kwdefaults__


def _unnoticed(trials: Mapping[faults.Fault, Trial]) -> list[faults.Fault]:
    """Carry out trials, a few at a time; return what has not been noticed."""
    left, under_way, unnoticed = list(trials), dict[int, faults.Fault](), list[faults.Fault]()
    while left or under_way:
        while left and len(under_way) < _WORKERS:
            fault = left.pop(0)
            under_way[_forked(trials[fault])] = fault
        pid, status = os.wait()
        fault = under_way.pop(pid)
        if status == 0:
            unnoticed.append(fault)
            print(f"{fault.module}.py:{fault.line}: {fault.what}: {fault.text}", flush=True)
    return unnoticed


def _forked(trial: Trial) -> int:
    """Try one in a process of its own, which ends with 0 if nobody notices."""
    pid = os.fork()
    if pid == 0:
        noticed = True  # also what never ends, or takes all memory
        with contextlib.suppress(BaseException):
            _bound()
            noticed = trial()
        os._exit(1 if noticed else 0)
    return pid


def _told(what: Callable[[], object]) -> object:
    """Return what a fork of this process finds out."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = None
        with contextlib.suppress(BaseException):
            _hush()
            found = what()
        with os.fdopen(write, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = pickle.load(pipe)  # noqa: S301  # of this process's own fork
    os.waitpid(pid, 0)
    return found


def _bound() -> None:
    _hush()
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    watch = threading.Timer(_WITHIN_S, os.kill, (os.getpid(), signal.SIGKILL))
    watch.daemon = True
    watch.start()


def _hush() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def main() -> None:
    """Print what was not noticed, and how much was."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.partition("\n\n")[0])
    parser.add_argument("modules", nargs="*", help="names of modules of plan/; none: all")
    parser.add_argument("--json", type=Path, help="also write how many were tried and noticed")
    told = parser.parse_args()
    result = run(told.modules or names())
    counts = {name: [result.noticed(name), every] for name, every in result.tried.items()}
    for name, (noticed, every) in counts.items():
        print(f"{name}: {noticed} of {every}")
    print(f"{result.part():.1%} noticed; {result.excused} make no difference")
    if told.json:
        told.json.write_text(json.dumps(counts))
    few = result.too_few()
    if few or result.part() < LEAST:
        sys.exit(f"too few are noticed: {LEAST:.0%} of all, {LEAST_OF_A_MODULE:.0%} of a module")


if __name__ == "__main__":
    main()
