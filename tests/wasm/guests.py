"""
The guests that tests run: wasm with known behaviour, made once and cached.

Most are WAT, one behaviour a file, described by the comment at its top; what
they share is wat/prelude.wat. Real toolchains' output comes from examples/, by
the commands that users type; python-sockets/ is made by the same.
`python -m tests.wasm.guests` makes them all.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import wasmtime

from e2e.cluster import cache
from tests.wasm import toolchains

EXAMPLES = Path(__file__).parents[2] / "examples"
TOOLCHAIN_GUESTS = (
    "c-counter",
    "c-hello",
    "go-files",
    "go-hello",
    "go-primes",
    "js-fetch",
    "python-hello",
    "python-json",
    "python-sockets",
    "rust-hello",
    "rust-stream",
)

_WAT = Path(__file__).parent / "wat"
_PRELUDE = _WAT / "prelude.wat"
_INCLUDE = ";; include prelude.wat"
_NOT_WASM = {
    "corrupt": b"\0asm\1\0\0\0" + bytes(range(32, 256)) * 4,
    "elf": b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\x3e\0\1\0\0\0" + bytes(4096),
}


def names() -> list[str]:
    """List every guest."""
    texts = (each.stem for each in _WAT.glob("*.wat") if each != _PRELUDE)
    return sorted([*texts, *TOOLCHAIN_GUESTS, *_NOT_WASM])


def path(name: str) -> Path:
    """
    Give a guest's file, made if this machine does not have it yet.

    A text takes milliseconds; the first of TOOLCHAIN_GUESTS may take a minute
    and needs make. The file is shared by all tests and read-only.

    Args:
        name: one of `names()`, such as `exit` or `go-primes`.

    Raises:
        LookupError: there is no such guest.
        CalledProcessError: a toolchain failed; it has said why on stderr.
    """
    if name in TOOLCHAIN_GUESTS:
        return _cached(name, _source_of_example(name), lambda file: _make(name, file))
    content = _NOT_WASM.get(name) or bytes(wasmtime.wat2wasm(text(name)))
    return _cached(name, content, lambda file: file.write_bytes(content))


def text(name: str) -> str:
    """
    Give the whole WAT of a guest, its prelude within.

    Raises:
        LookupError: there is no such text.
    """
    file = _WAT / f"{name}.wat"
    if not file.is_file() or file == _PRELUDE:
        raise LookupError(f"cannot find guest {name}: there are {', '.join(names())}")
    return file.read_text().replace(_INCLUDE, _PRELUDE.read_text())


def _cached(name: str, source: bytes, make: Callable[[Path], object]) -> Path:
    def fill(directory: Path) -> None:
        file = directory / f"{name}.wasm"
        make(file)
        file.chmod(0o444)

    key = hashlib.sha256(source).hexdigest()[:16]
    return cache.entry(f"guests/{name}-{key}", fill) / f"{name}.wasm"


def _source_of_example(name: str) -> bytes:
    """Join what its binary depends on: sources, commands and toolchain."""
    sources = sorted(each for each in (_home(name) / name).rglob("*") if each.is_file())
    files = [EXAMPLES / "Makefile", *(each for each in sources if each.suffix != ".pyc")]
    tool = toolchains.version(_language(name))
    return b"\0".join([tool.encode(), *(each.read_bytes() for each in files)])


def _home(name: str) -> Path:
    return EXAMPLES if (EXAMPLES / name).is_dir() else Path(__file__).parent


def _language(name: str) -> str:
    return name.split("-")[0]


def _make(name: str, file: Path) -> None:
    chosen = toolchains.settings(_language(name))
    if _home(name) != EXAMPLES:
        chosen.append(f"PYTHONS={name}")
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [
                *("nice", "make", "--silent", "-f", EXAMPLES / "Makefile", "-C", _home(name)),
                *(name, f"OUT={out}", *chosen),
            ],
            env={each: os.environ[each] for each in os.environ if not each.startswith("MAKE")},
            check=True,
            stdout=sys.stderr,
        )
        shutil.copyfile(Path(out) / file.name, file)


if __name__ == "__main__":
    for each in names():
        sys.stdout.write(f"{path(each)}\n")
