"""The rooms: what may be imported where, and that the docs tell the truth."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "agent" / "wasm_node"

NEVER_IN_A_WORKER = {
    "aiohttp": "20 MB in each of a thousand workers, and a network client beside a guest",
    "asyncio": "2 MB; a worker pumps logs and waits for one guest",
    "kubernetes": "33 MB and a second of start",
    "msgspec": "the runtime knows no Kubernetes objects",
    "ssl": "4 MB; a worker has no business on a network",
    "yaml": "specs travel as JSON",
    "wasm_node.agent": "the runtime knows no pods; agent and runtime upgrade apart",
}
NEVER_IN_RUN = {
    "kubernetes": "a second of start that a laptop's first log line would wait for",
    "wasmtime": "untrusted bytes are parsed and compiled in the runtime only",
}
NEVER_IN_LOGS = {
    "aiohttp": "reading a file needs no HTTP client",
    "kubernetes": "the node's own view works without an API server",
    "wasmtime": "reading a log runs nothing",
}


def _imported_with(module: str) -> set[str]:
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("wasm_node.runtime.worker", NEVER_IN_A_WORKER),
        ("wasm_node.runtime.forkserver", NEVER_IN_A_WORKER),
        ("wasm_node.cli.run", NEVER_IN_RUN),
        ("wasm_node.cli.logs", NEVER_IN_LOGS),
    ],
)
def test_what_a_program_never_imports(module: str, never: dict[str, str]) -> None:
    """Each name stands with its reason; importing it is a cost or a risk."""
    found = _imported_with(module)

    assert {} == {name: why for name, why in never.items() if name in found}


def test_the_docs_name_every_room() -> None:
    """The architecture page lists the rooms that exist, and no other."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    block = text.split("## Rooms")[1].split("```")[1]
    agent = block.split("agent/\n")[1].split("runtime/")[0]
    named = set(re.findall(r"\b([a-z_]+(?:/|\.py))", agent))
    there = {
        f"{each.name}/" if each.is_dir() else each.name
        for each in (PACKAGE / "agent").iterdir()
        if not each.name.startswith("__")
    }

    assert there == {each for each in named if each != "fields.py"}


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md")),
    ids=lambda each: each.name,
)  # fmt: skip
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link in the docs names a file that exists."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())

    assert [] == [each for each in targets if not (document.parent / each).exists()]
