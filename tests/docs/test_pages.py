"""The pages of docs/: built without a warning, made from the code as it is."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from urllib import parse

import pytest

from docs import reference

_CHECKOUT = Path(__file__).parents[2]
_DOCS = _CHECKOUT / "docs"
_PACKAGE = _CHECKOUT / "agent" / "wasm_node"
_PAGES = [*sorted(_CHECKOUT.glob("*.md")), *sorted(_DOCS.rglob("*.md"))]

# Rooms whose reasons end up in a container's `state.waiting` or `terminated`.
_OF_CONTAINERS = ("agent/loops", "agent/oci", "agent/plan", "runtime")
_NOT_OF_CONTAINERS = {
    "NotRunning": "of a command in a container that has ended: its caller is told",
    "BadRequest": "of the runtime's socket, which only the agent uses",
    "NodeNameTaken": "of the agent's log, as no node is there to show it",
    "NodeTakenOver": "the same",
    "PodStillRunning": "of a clean-up, which is tried again",
    "PushFailed": "of `wasm-node pack`",
    "TooManyRequests": "of a status, which is written later",
}


@pytest.mark.timeout(120)  # Sphinx reads all pages anew
def test_the_pages_build(tmp_path: Path) -> None:
    """Sphinx finds no link to a page, a heading or a file that is not there."""
    words = [sys.executable, "-m", "sphinx", "-nW", "--keep-going", "-q"]
    done = subprocess.run([*words, _DOCS, tmp_path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "troubleshooting.html").exists()


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """`make docs` would change nothing."""
    assert (_DOCS / name).read_text() == reference.PAGES[name]()


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_CHECKOUT)))
def test_external_links_are_addresses(page: Path) -> None:
    """A link that leads out is https and names a host; nobody is asked."""
    found = re.findall(r"\]\((\w+:[^)]*)\)", page.read_text())

    wrong = [
        each
        for each in found
        if (url := parse.urlsplit(each)).scheme != "https" or "." not in (url.hostname or "")
    ]
    assert wrong == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_CHECKOUT)))
def test_commands_stand_in_sessions(page: Path) -> None:
    """What is shown to be typed is in a block that the doc test reads."""
    fence = ""
    outside = []
    for line in page.read_text().splitlines():
        if line.lstrip().startswith("```"):
            fence = "" if fence else line.strip()
        elif re.match(r"\s*\$ ", line) and fence != "```console":
            outside.append(line)

    assert outside == []


def test_every_reason_is_explained() -> None:
    """What a pod may wait with, or end with, stands in Troubleshooting."""
    reasons = {
        keyword.value.value
        for room in _OF_CONTAINERS
        for file in (_PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant)
    }
    explained = set(re.findall(r"`(\w+)`", (_DOCS / "troubleshooting.md").read_text()))

    assert set(_NOT_OF_CONTAINERS) <= reasons
    assert reasons - set(_NOT_OF_CONTAINERS) <= explained


def test_every_label_is_listed() -> None:
    """The page of labels and annotations has those of the code, no other."""
    name = re.compile(r"wasm-node\.dev/[a-z0-9-]+")
    used = {each for file in _PACKAGE.rglob("*.py") for each in name.findall(file.read_text())}

    assert set(name.findall((_DOCS / "labels-and-annotations.md").read_text())) == used


def test_every_alert_is_listed() -> None:
    """The page of metrics has the chart's alerts, and all metrics they use."""
    page = (_DOCS / "metrics.md").read_text()
    monitoring = _CHECKOUT / "charts" / "wasm-node"
    rules = (monitoring / "templates" / "monitoring" / "rules.yaml").read_text()
    drawn = "".join(each.read_text() for each in (monitoring / "dashboards").iterdir())
    metrics = {each.removesuffix("_bucket") for each in re.findall(r"wasm_node_\w+", rules + drawn)}

    assert set(re.findall(r"`(WasmNode\w+)`", page)) == set(re.findall(r"alert: (\w+)", rules))
    assert metrics <= set(re.findall(r"`(wasm_node_\w+)`", page))


def test_the_capacity_is_as_concepts_say() -> None:
    """What a pod is counted with is the same in the code and on the page."""
    code = (_PACKAGE / "agent" / "plan" / "node.py").read_text()
    said = re.findall(
        r"memory / (\d+) MiB and 90% .* / (\d+) ", (_DOCS / "concepts.md").read_text()
    )
    memory = re.findall(r"_MEMORY_PER_POD = (\d+) \* 2\*\*20", code)

    assert said == [(*memory, *re.findall(r"_TASKS_PER_POD = (\d+)", code))]
