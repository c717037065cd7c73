"""The guest of the chaos run: a component of C, made once and cached."""

import hashlib
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from e2e.cluster import cache

_SOURCES = Path(__file__).parent / "guest"
_FLAGS = ("-Os", "-s", "-target", "wasm32-freestanding", "-nostdlib", "-Wl,--no-entry")


def run() -> Path:
    """Return the component `run`; the top of guest/run.c says what it does."""
    key = hashlib.sha256(metadata.version("ziglang").encode())
    for source in sorted(_SOURCES.iterdir()):
        key.update(source.read_bytes())
    return cache.entry(f"guests/run-{key.hexdigest()[:16]}", _make) / "run.wasm"


def _make(folder: Path) -> None:
    tools, core = Path(sysconfig.get_path("scripts")) / "wasm-tools", folder / "core.wasm"
    _do(sys.executable, "-m", "ziglang", "cc", *_FLAGS, "-o", core, _SOURCES / "run.c")
    embedded = folder / "embedded.wasm"
    wit = _SOURCES / "run.wit"
    _do(tools, "component", "embed", "--world", "run", wit, core, "-o", embedded)
    _do(tools, "component", "new", embedded, "-o", folder / "run.wasm")


def _do(*words: str | Path) -> None:
    subprocess.run(["nice", *words], check=True, stdout=sys.stderr)
