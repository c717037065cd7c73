"""
Small faults of the kind that a slip of the hand makes.

Another comparison, `and` for `or`, a condition turned round, a number that is
one off, a word that is another, nothing returned, a step left out.
"""

import ast
import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

_COMPARED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.BitOr: ast.BitAnd}
_NAMED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_Change = tuple[str, Callable[[], None]]


@dataclasses.dataclass(frozen=True)
class Fault:
    """
    One fault.

    Attributes:
        module: the name of the changed module, without its packages.
        function: where in it, as `Class.method`; empty: at the module's level
            or a class's.
        line: its number.
        text: that line as it is without the fault.
        what: what was changed.
        tree: the module that has it.
    """

    module: str
    function: str
    line: int
    text: str
    what: str
    tree: ast.Module


def of(path: Path) -> Iterator[Fault]:
    """Yield every fault of one file."""
    source = path.read_text()
    lines = source.splitlines()
    tree = ast.parse(source)
    for index, (node, function, (what, _)) in enumerate(_sites(tree)):
        changed = copy.deepcopy(tree)
        _, _, (_, change) = list(_sites(changed))[index]
        change()
        line = int(getattr(node, "lineno", 1))
        text = lines[line - 1].strip()
        yield Fault(path.stem, function, line, text, what, ast.fix_missing_locations(changed))


def _sites(tree: ast.Module) -> Iterator[tuple[ast.AST, str, _Change]]:
    """Yield the places of a tree, the function of each, and what changes it."""
    for node, function in _walk(tree, "", inside=False):
        for change in _changes(node):
            yield node, function, change


def _walk(node: ast.AST, name: str, *, inside: bool) -> Iterator[tuple[ast.AST, str]]:
    """Yield what may be changed below a node, with its outermost function."""
    unchangeable = [getattr(node, each, None) for each in ("annotation", "returns", "pattern")]
    unchangeable += getattr(node, "decorator_list", [])
    for child in ast.iter_child_nodes(node):
        if child in unchangeable or _is_docstring(child) or _is_alias(child):
            continue
        below, within = name, inside
        if not inside and isinstance(child, ast.FunctionDef | ast.ClassDef):
            below = f"{name}.{child.name}" if name else child.name
            within = isinstance(child, ast.FunctionDef)
        yield child, below if within else ""
        yield from _walk(child, below, inside=within)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_alias(node: ast.AST) -> bool:
    """Say whether it is a name for a type."""
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias"


def _changes(node: ast.AST) -> Iterator[_Change]:
    yield from _of_expressions(node)
    yield from _of_constants(node)
    yield from _of_steps(node)


def _of_expressions(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                if type(op) in _COMPARED:
                    other = [*ops[:index], _COMPARED[type(op)](), *ops[index + 1 :]]
                    what = f"{type(op).__name__} to {type(other[index]).__name__}"
                    yield what, _setting(node, "ops", other)
        case ast.BoolOp(op=ast.And()):
            yield "and to or", _setting(node, "op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "or to and", _setting(node, "op", ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not to nothing", _setting(node, "operand", ast.UnaryOp(ast.Not(), operand))
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _COMPUTED:
            computed = _COMPUTED[type(op)]
            what = f"{type(op).__name__} to {computed.__name__}"
            yield what, _setting(node, "op", computed())
        case ast.Name(id=name) if name in _NAMED:
            yield f"{name} to {_NAMED[name]}", _setting(node, "id", _NAMED[name])


def _of_constants(node: ast.AST) -> Iterator[_Change]:
    if not isinstance(node, ast.Constant):
        return
    match node.value:
        case bool() as value:
            yield f"{value} to {not value}", _setting(node, "value", not value)
        case int() | float() as number:
            yield f"{number} to {number + 1}", _setting(node, "value", number + 1)
        case str() as word:
            yield f"{word!r} to another", _setting(node, "value", f"{word}?")
        case _:
            return


def _of_steps(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, ast.Compare):
            yield "condition turned round", _setting(node, "test", _turned(test))
        case ast.comprehension(ifs=[test]) if not isinstance(test, ast.Compare):
            yield "condition turned round", _setting(node, "ifs", [_turned(test)])
        case ast.match_case(guard=ast.expr() as test) if not isinstance(test, ast.Compare):
            yield "condition turned round", _setting(node, "guard", _turned(test))
        case ast.Return(value=ast.expr() as value) if not _is_nothing(value):
            yield "nothing returned", _setting(node, "value", ast.Constant(None))
        case ast.Call(func=ast.Attribute(attr="replace"), keywords=keywords):
            for index, each in enumerate(keywords):
                rest = keywords[:index] + keywords[index + 1 :]
                yield f"without {each.arg}=", _setting(node, "keywords", rest)
        case ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            yield "left out", _setting(node, "value", ast.YieldFrom(ast.Tuple([], ast.Load())))
        case ast.Expr(value=ast.Call(func=func)) if not _is_never(func):
            yield "left out", _setting(node, "value", ast.Constant(None))


def _is_nothing(node: ast.expr) -> bool:
    """Say whether it is as good as nothing to who asks if there is any."""
    if isinstance(node, ast.Tuple | ast.List):
        return not node.elts
    return isinstance(node, ast.Constant) and not node.value


def _is_never(function: ast.expr) -> bool:
    """Say whether only the type checker comes there."""
    return isinstance(function, ast.Name) and function.id == "assert_never"


def _turned(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _setting(node: ast.AST, field: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, field, value)
