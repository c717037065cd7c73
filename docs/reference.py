"""
The pages that are made from code: `python -m docs.reference` writes them.

What a setting means stands once, at its field, and what becomes of a PodSpec
field in `model/fields.py`; a second text by hand would be wrong one day. A
test compares the pages with what this writes.
"""

import argparse
import ast
import inspect
import itertools
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from docs import chart_values
from wasm_node.agent import settings as agent_settings
from wasm_node.agent.model import fields
from wasm_node.cli import agent, controller, runtime
from wasm_node.controller import settings as controller_settings

HERE = Path(__file__).parent

_SETTINGS = """\
<!-- Made by docs/reference.py from the settings' own docstrings: change those. -->
# Settings

Agent and controller each read one YAML file and check it as a whole before anything starts: a wrong
or unknown field stops the start with the file, the field's name and what is allowed.
With Helm the files are made from the chart's values.
The runtime knows no Kubernetes and has flags only.
"""

_POD_SPEC = """\
<!-- Made by docs/reference.py from agent/wasm_node/agent/model/fields.py: change that. -->
# What of a PodSpec works

Nothing that a manifest says is dropped without a word.
Each field of the API has one of three fates:

- **Works**: as on any node.
- **Means nothing here**: accepted, as a wasm guest could not notice it.
- **Refused**: the pod is not started. It waits with the reason `UnsupportedPodSpec`, its message
  names the field and says what to do, and it starts once the field is gone. A value that asks for
  nothing, such as `hostNetwork: false`, is no reason to wait.

What this version cannot read at all, as it is newer, is refused likewise. Of a pod that runs
already, as after a step back to an older version, everything else still holds: its probes, hooks
and limits. An ephemeral container that cannot be read waits alone.

A test walks the schema of a real API server and fails on a field that is missing here.
"""

_TITLES = {
    fields.Kind.HONOURED: "Works",
    fields.Kind.MEANINGLESS: "Means nothing here",
    fields.Kind.REFUSED: "Refused",
}


def settings_page() -> str:
    """Return `settings.md`: every setting and flag of the three programs."""
    return "\n".join(
        [
            _SETTINGS,
            "## Agent\n",
            "`wasm-node agent --config FILE`.\n",
            *_flags(agent),
            *_struct(agent_settings.Settings, "", ""),
            "## Controller\n",
            "`wasm-node controller --config FILE`.\n",
            *_flags(controller),
            *_struct(controller_settings.Settings, "", ""),
            "## Runtime\n",
            "`wasm-node runtime`.\n",
            *_flags(runtime),
        ]
    )


def pod_spec_page() -> str:
    """Return `pod-spec.md`: what becomes of each field of a PodSpec."""
    return "\n".join(
        [
            _POD_SPEC,
            *_fates("spec", fields.POD),
            *_fates("spec.containers[]`, `spec.initContainers[]", fields.CONTAINER),
            *_fates("spec.ephemeralContainers[]", fields.EPHEMERAL),
        ]
    )


PAGES = {
    "settings.md": settings_page,
    "pod-spec.md": pod_spec_page,
    "values.md": chart_values.page,
}
"""What makes each page, by its file below docs/."""


def _struct(struct: type[msgspec.Struct], prefix: str, title: str) -> Iterator[str]:
    """Give a table of a struct's fields, then one of each struct within."""
    if title:
        yield f"### {title}\n\n{inspect.getdoc(struct)}\n"
    yield "| setting | type | default | meaning |\n|---|---|---|---|"
    within = []
    said = _field_docs(struct)
    for field in msgspec.structs.fields(struct):
        name = f"{prefix}{field.encode_name}"
        yield f"| `{name}` | {_type(field.type)} | {_default(field)} | {said[field.name]} |"
        within += [(inner, f"{name}.") for inner in _structs(field.type)]
    yield ""
    for inner, below in within:
        yield from _struct(inner, below, f"`{below.removesuffix('.')}`")


def _field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Read the docstrings below the fields; Python itself forgets them."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101  # a class's source is one class
    said = {}
    for field, text in itertools.pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(words))):
                said[name] = _cell(words)
            case _:
                pass
    return said


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            yield each


def _type(kind: Any) -> str:
    """Say a type in the words of YAML."""
    plain = {str: "text", int: "number", float: "number", bool: "true or false", Path: "path"}
    if kind in plain:
        return plain[kind]
    if any(_structs(kind)):
        return "section"
    inner = [each for each in get_args(kind) if each not in (type(None), ...)]
    match get_origin(kind):
        case origin if origin is Literal:
            return ", ".join(f"`{each}`" for each in inner)
        case origin if origin in (types.UnionType, Union):
            return " or ".join(map(_type, inner))
        case origin if origin in (tuple, list):
            return f"list of {_type(inner[0])}"
        case origin if origin is dict:
            return "map"
    raise TypeError(f"cannot say the type {kind} of a setting: teach docs/reference.py")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if value in (None, "", Path(), (), {}) or isinstance(value, msgspec.Struct):
        return ""
    return f"`{value}`"


def _flags(verb: types.ModuleType) -> Iterator[str]:
    """Give a table of a verb's arguments."""
    parser = argparse.ArgumentParser(add_help=False)
    verb.configure(parser)
    yield "| argument | meaning |\n|---|---|"
    for action in parser._actions:  # argparse lists them nowhere else
        flag = action.option_strings[-1:]
        choices = ", ".join(action.choices or ())
        name = f"{flag[0]} {action.metavar or action.dest.upper()}" if flag else choices
        said = action.help or ""
        if flag and choices:
            said = f"{said} (one of: {choices})"
        yield f"| `{name}` | {_cell(said)} |"
    yield ""


def _fates(title: str, rows: Mapping[str, fields.Fate]) -> Iterator[str]:
    yield f"## `{title}`\n"
    for kind, heading in _TITLES.items():
        yield f"### {heading}: `{title}`\n"
        yield "| field | |\n|---|---|"
        for path, fate in rows.items():
            if fate.kind is kind:
                yield f"| `{path}` | {_cell(fate.note)} |"
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    for name, make in PAGES.items():
        (HERE / name).write_text(make())
