"""
What is expensive to make is made once, outside the tree.

An entry is a directory named by the hash of all that it is made from. It is
made under a lock, so that parallel runs wait for one maker, and comes into
being by a rename, so that an interrupted one leaves nothing that looks done.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def root() -> Path:
    """Give the directory of this project's caches, which may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wasm-node"


def wheel(name: str, version: str) -> Path:
    """Give the directory of a wheel from PyPI, with what it needs beside it."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]

    def install(directory: Path) -> None:
        words = [*pip, "--target", str(directory), f"{name}=={version}"]
        subprocess.run(words, check=True, stdout=sys.stderr)

    return entry(f"{name}-{version}", install)


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """
    Give the entry's directory, made by `make` in an empty one if it is missing.

    Args:
        name: a path below the cache's root, with the hash of the sources in it.
        make: fills the directory that it gets; what it raises goes through.
    """
    wanted = root() / name
    if wanted.is_dir():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    lock = wanted.with_name(f"{wanted.name}.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not wanted.is_dir():
            part = wanted.with_name(f"{wanted.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(wanted)
    return wanted
