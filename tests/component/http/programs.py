"""
The guests of these tests: wasi:http components and modules for WAGI, in C.

They are made of `guest/` by the C compiler of the tests and cached as those
of tests.wasm are; what is at which path is told at the top of each source.
"""

import hashlib
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from e2e.cluster import cache

_SOURCES = Path(__file__).parent / "guest"
_COMPILER = (sys.executable, "-m", "ziglang", "cc", "-Os", "-s")


def component() -> Path:
    """Return the component `web`, of WASI 0.2, made if it is not there yet."""
    return _made("web", _component)


def service() -> Path:
    """Return the component `service`, of WASI 0.3, made likewise."""
    return _made("service", _component)


def module() -> Path:
    """Return the module `cgi`, made if it is not there yet."""
    return _made("cgi", _module)


def _made(name: str, make: Callable[[Path, str], None]) -> Path:
    key = hashlib.sha256(metadata.version("ziglang").encode())
    for source in sorted(_SOURCES.glob(f"{name}.*")):
        key.update(source.read_bytes())
    folder = cache.entry(f"guests/{name}-{key.hexdigest()[:16]}", lambda folder: make(folder, name))
    return folder / f"{name}.wasm"


def _component(folder: Path, name: str) -> None:
    core, embedded = folder / "core.wasm", folder / "embedded.wasm"
    freestanding = ("-target", "wasm32-freestanding", "-nostdlib", "-Wl,--no-entry")
    _run(*_COMPILER, *freestanding, "-o", core, _SOURCES / f"{name}.c")
    tools = Path(sysconfig.get_path("scripts")) / "wasm-tools"
    wit = _SOURCES / f"{name}.wit"
    _run(tools, "component", "embed", "--world", name, wit, core, "-o", embedded)
    _run(tools, "component", "new", embedded, "-o", folder / f"{name}.wasm")


def _module(folder: Path, name: str) -> None:
    made, source = folder / f"{name}.wasm", _SOURCES / f"{name}.c"
    _run(*_COMPILER, "-target", "wasm32-wasi", "-o", made, source)


def _run(*words: str | Path) -> None:
    subprocess.run(["nice", *words], check=True, stdout=sys.stderr)
