"""
docs/values.md out of the chart's values.yaml: `python -m docs.chart_values`.

What a value means stands once, in the comment above it. A test compares the
page with what this makes, and the schema with the values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

PAGE = Path(__file__).parent / "values.md"
VALUES = PAGE.parents[1] / "charts/wasm-node/values.yaml"
_KEY = re.compile(r"( *)([A-Za-z]+):(?: (.*))?")
_TOP = """\
<!-- Made by docs/chart_values.py from charts/wasm-node/values.yaml: change that. -->
# Values of the chart

What `helm install --set` and `--values` take; anything else is refused with its name.

| value | default | meaning |
|---|---|---|
"""


@dataclass(frozen=True)
class Value:
    """
    A value of the chart.

    Attributes:
        path: its name from the top, with dots.
        default: as YAML in one line; None: it is a section.
        meaning: the comment above it; empty: there is none.
    """

    path: str
    default: str | None
    meaning: str


def values() -> Iterator[Value]:
    """Yield every section and value, in the file's order."""
    above: list[Value] = []
    comment: list[str] = []
    for line in VALUES.read_text().splitlines():
        if line.lstrip().startswith("# "):
            comment.append(line.lstrip()[2:])
        elif key := _KEY.fullmatch(line):
            above = above[: len(key[1]) // 2]
            path = f"{above[-1].path}.{key[2]}" if above else key[2]
            above.append(Value(path, key[3], " ".join(comment)))
            yield above[-1]
            comment = []
        else:
            comment = []


def page() -> str:
    """Return the page."""
    return _TOP + "".join(
        f"| `{each.path}` | {_shown(each.default)} | {each.meaning.replace('|', chr(92) + '|')} |\n"
        for each in values()
        if each.meaning
    )


def _shown(default: str | None) -> str:
    if default is None or yaml.safe_load(default) in ("", [], {}):
        return ""
    return f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(page())
