"""
Run the tests and leave a dated result: what `make test-all` commits.

    python -m e2e.report docs/test-all.md PYTEST-ARGUMENTS... [-- ONCE-MORE...]

The result is read from pytest's own JUnit files, not from what it printed. A
second run is for what may not share its machine with a second worker.
"""

import collections
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.mutation.mutants import NOTICED

_SLOWEST = 10
_JUNIT = ("-o", "junit_family=xunit1")  # the one that properties of tests are in


def main(arguments: list[str]) -> int:
    """Run pytest, write the report, return pytest's worst exit code."""
    where, *words = arguments
    cases: list[ET.Element] = []
    codes = []
    for run in _split(words):
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "junit.xml"
            command = [sys.executable, "-m", "pytest", *_JUNIT, f"--junit-xml={file}", *run]
            codes.append(subprocess.run(command).returncode)
            root = ET.parse(file).getroot()  # noqa: S314  # pytest wrote it just now
        cases.extend(root.iter("testcase"))
    Path(where).write_text(_report(cases, words, max(codes)))
    return max(codes)


def _split(words: list[str]) -> Iterator[list[str]]:
    """Yield what is between the `--`."""
    run: list[str] = []
    for word in words:
        if word == "--":
            yield run
            run = []
        else:
            run.append(word)
    yield run


def _report(cases: list[ET.Element], words: Iterable[str], code: int) -> str:
    rooms: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for case in cases:
        rooms[_room(case)][_outcome(case)] += 1
    total = sum(rooms.values(), collections.Counter[str]())
    slowest = sorted(cases, key=lambda case: -float(case.get("time", "0")))[:_SLOWEST]
    today = dt.datetime.now(dt.UTC).date().isoformat()
    lines = [
        "# The last `make test-all`",
        "",
        f"{today}, Python {platform.python_version()}, {os.cpu_count()} cores: "
        f"{'passed' if code == 0 else 'FAILED'}; {_counts(total)}.",
        f"Command: `pytest {' '.join(words)}`.",
        "",
        "| room | result |",
        "|---|---|",
        *(f"| {room} | {_counts(counts)} |" for room, counts in sorted(rooms.items())),
        "",
        "| slowest | seconds |",
        "|---|---|",
        *(f"| `{case.get('name')}` | {float(case.get('time', '0')):.1f} |" for case in slowest),
        *_noticed(cases),
    ]
    return "\n".join(lines) + "\n"


def _noticed(cases: list[ET.Element]) -> list[str]:
    """List how many small faults the tests have noticed, if that was tried."""
    told = {
        each.get("name", "").removeprefix(NOTICED): each.get("value")
        for case in cases
        for each in case.iter("property")
        if each.get("name", "").startswith(NOTICED)
    }
    rows = [f"| `plan/{name}.py` | {value} |" for name, value in told.items()]
    head = ["", "| small faults in | noticed by tests |", "|---|---|"]
    return [*head, *rows] if rows else []


def _room(case: ET.Element) -> str:
    parts = case.get("classname", "").split(".")
    return "/".join(each for each in parts[:3] if each[:5] != "test_" and each[:4] != "Test")


def _outcome(case: ET.Element) -> str:
    found = [kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None]
    return found[0] if found else "passed"


def _counts(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
