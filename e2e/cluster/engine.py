"""
The native engine's wheel, built by cargo and kept in the cache.

`python -m e2e.cluster.engine` has it in this environment, with the word `check`
lints and tests its sources instead.

Two entries: the wheel, by the hash of its sources, of this file and the
compiler's version, and cargo's own directory, by the compiler's alone, since
the two hundred crates below ours take a quarter of an hour on two cores, and
ours takes a minute. Several checkouts share it; cargo tells by times alone
whether a file has changed, so what it has of our crate goes with each change of
the sources.
Where there is no cargo there is no such engine: guests run on wasmtime's Python
binding.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from e2e.cluster import cache

_SOURCES = Path(__file__).parents[2] / "agent/engine"
_DISTRIBUTION = "wasm-node-engine"
_CARGO = ("--release", "--locked", "--quiet")


def wheel() -> Path | None:
    """Give the wheel for this machine, built if need be; None: no cargo."""
    if not _compiler():
        return None
    key = hashlib.sha256(_sources() + Path(__file__).read_bytes()).hexdigest()[:16]
    folder = cache.entry(f"engine/wheel-{key}", _build)
    return next(folder.glob("*.whl"))


def install() -> None:
    """Have the engine in this environment, where it can be built."""
    built = wheel()
    if built is None:
        print("no cargo: guests run on wasmtime's Python binding alone", file=sys.stderr)
    elif not _is_installed(built):
        words = ["install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip = [sys.executable, "-m", "pip", *words, "--force-reinstall", str(built)]
        subprocess.run(pip, check=True, stdout=sys.stderr)


def check() -> None:
    """Lint the engine's sources and run their own tests, where cargo is."""
    if not _compiler():
        print("no cargo: the native engine's sources are not checked", file=sys.stderr)
        return
    for words in (
        ["fmt", "--check"],
        ["clippy", *_CARGO, "--all-targets", "--", "-Dwarnings", "-Wclippy::pedantic"],
        ["test", *_CARGO],
    ):
        with _target() as env:
            subprocess.run(["nice", "cargo", *words], cwd=_SOURCES, env=env, check=True)


def _is_installed(built: Path) -> bool:
    try:
        origin = metadata.distribution(_DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return False
    return built.as_uri() in (origin or "")


def _build(folder: Path) -> None:
    print("building the native engine: a quarter of an hour the first time", file=sys.stderr)
    began = time.monotonic()
    maturin = Path(sysconfig.get_path("scripts")) / "maturin"
    words = ["build", *_CARGO, "--out", str(folder), "--interpreter", sys.executable]
    with _target() as env:
        subprocess.run(
            ["nice", str(maturin), *words], cwd=_SOURCES, env=env, check=True, stdout=sys.stderr
        )
    print(f"built the native engine in {time.monotonic() - began:.0f} s", file=sys.stderr)


@contextlib.contextmanager
def _target() -> Iterator[dict[str, str]]:
    """Give the environment in which cargo uses its kept directory, locked."""
    target = cache.root() / f"engine/target-{hashlib.sha256(_compiler()).hexdigest()[:16]}"
    target.mkdir(parents=True, exist_ok=True)
    with (target / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        env = {**os.environ, "CARGO_TARGET_DIR": str(target)}
        built = target / "sources"
        if not built.exists() or built.read_bytes() != _sources():
            words = ["cargo", "clean", "--quiet", "--release", "--package", _DISTRIBUTION]
            subprocess.run(words, cwd=_SOURCES, env=env, check=True)
            built.write_bytes(_sources())
        yield env


def _sources() -> bytes:
    """Return a hash of all that the engine is made of, the compiler too."""
    digest = hashlib.sha256(_compiler())
    for pattern in ("*.toml", "*.lock", "src/**/*.rs"):
        for source in sorted(_SOURCES.glob(pattern)):
            digest.update(source.read_bytes())
    return digest.digest()


@functools.cache
def _compiler() -> bytes:
    """Say which compiler there is; empty: none."""
    if shutil.which("cargo") is None:
        return b""
    # NB: rustup's rustc without a toolchain fails: that is no compiler.
    return subprocess.run(["rustc", "-vV"], check=False, capture_output=True).stdout


if __name__ == "__main__":
    check() if sys.argv[1:] == ["check"] else install()
