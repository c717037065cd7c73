"""
Small faults put into `plan/` one at a time, to see whether tests notice.

A fault is one change of the kind that a slip of the hand makes: another
comparison, `and` for `or`, a condition turned round, a number that is one off.
`python -m tests.mutation.mutants` tries all and lists those that nobody has
noticed; names of files (`pods restarts`) try those alone. Each is run in a fork
of this process, in which the module's names stand for the changed code.
"""

import ast
import contextlib
import copy
import dataclasses
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAN = ROOT / "agent" / "wasm_node" / "agent" / "plan"
TESTS = ("tests/golden", "tests/unit/plan", "tests/unit/model", "tests/unit/loops")

_WITHIN_S = 120
_COMPARED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.BitOr: ast.BitAnd}
_NAMED = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault: the module that has it, its line, and what was changed."""

    module: str
    line: int
    what: str
    tree: ast.Module


def of(path: Path) -> Iterator[Mutant]:
    """Yield every fault of one file."""
    tree = ast.parse(path.read_text())
    sites = list(_sites(tree))
    for index, (line, what, _) in enumerate(sites):
        changed = copy.deepcopy(tree)
        change = list(_sites(changed))[index][2]
        change()
        yield Mutant(path.stem, line, what, ast.fix_missing_locations(changed))


def _sites(tree: ast.Module) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """Yield the places of a tree, and what changes it there."""
    skipped = {id(each) for node in ast.walk(tree) for each in _unchangeable(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        for what, change in _changes(node):
            yield getattr(node, "lineno", 0), what, change


def _unchangeable(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is below an annotation, a pattern or a decorator."""
    below = [getattr(node, name, None) for name in ("annotation", "returns", "pattern")]
    for each in (*below, *getattr(node, "decorator_list", ())):
        if isinstance(each, ast.AST):
            yield from ast.walk(each)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            other = _COMPARED[type(op)]
            yield f"{type(op).__name__} to {other.__name__}", lambda: _set(node, "ops", [other()])
        case ast.BoolOp(op=ast.And()):
            yield "and to or", lambda: _set(node, "op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "or to and", lambda: _set(node, "op", ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            turned = ast.UnaryOp(ast.Not(), operand)
            yield "not to nothing", lambda: _set(node, "operand", turned)
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, ast.Compare):
            turned = ast.UnaryOp(ast.Not(), test)
            yield "condition turned round", lambda: _set(node, "test", turned)
        case ast.BinOp(op=op) if type(op) in _COMPUTED:
            computed = _COMPUTED[type(op)]
            what = f"{type(op).__name__} to {computed.__name__}"
            yield what, lambda: _set(node, "op", computed())
        case ast.Constant(value=bool() as value):
            yield f"{value} to {not value}", lambda: _set(node, "value", not value)
        case ast.Constant(value=int() | float() as number):
            yield f"{number} to {number + 1}", lambda: _set(node, "value", number + 1)
        case ast.Name(id=name) if name in _NAMED:
            yield f"{name} to {_NAMED[name]}", lambda: _set(node, "id", _NAMED[name])


def _set(node: ast.AST, field: str, value: object) -> None:
    setattr(node, field, value)


def _trial(mutant: Mutant) -> int:
    signal.alarm(_WITHIN_S)  # one that never ends is noticed by that
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # no file of ours
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    name = f"wasm_node.agent.plan.{mutant.module}"
    module = importlib.import_module(name)
    exec(  # noqa: S102  # our own code, changed
        compile(mutant.tree, str(PLAN / f"{mutant.module}.py"), "exec"), module.__dict__
    )
    quiet = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    return int(pytest.main([*quiet, *(str(ROOT / each) for each in TESTS)]))


def survivors(names: Sequence[str]) -> tuple[list[Mutant], int]:
    """Try every fault of these modules; return the unnoticed, and how many."""
    every = [mutant for name in names for mutant in of(PLAN / f"{name}.py")]
    left, under_way, unnoticed = list(every), dict[int, Mutant](), list[Mutant]()
    while left or under_way:
        while left and len(under_way) < (os.cpu_count() or 1):
            mutant = left.pop(0)
            under_way[_forked(mutant)] = mutant
        pid, status = os.wait()
        if status == 0:
            unnoticed.append(under_way[pid])
        del under_way[pid]
    return unnoticed, len(every)


def _forked(mutant: Mutant) -> int:
    """Try one in a process of its own, which ends with 0 if nobody notices."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            code = _trial(mutant)
        os._exit(1 if code else 0)
    return pid


def main() -> None:
    """Print what was not noticed, and how much was."""
    names = sys.argv[1:] or sorted(x.stem for x in PLAN.glob("*.py") if x.stem != "__init__")
    unnoticed, every = survivors(names)
    for each in unnoticed:
        print(f"{each.module}.py:{each.line}: {each.what}")
    print(f"{every - len(unnoticed)} of {every} noticed")


if __name__ == "__main__":
    main()
