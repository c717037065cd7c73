"""
A desk at which a page of the documentation is typed.

What its reader has: a fresh copy of the checkout, a home, a PATH, caches and
toolchains of this machine, and nothing of the run of tests around it. What the
page starts ends with the desk.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from e2e import documents

WITHIN_S = 270.0
"""How long a page may take, on a busy machine."""

_CHECKOUT = Path(__file__).parents[1]
_OF_THE_MACHINE = {"XDG_CACHE_HOME": ".cache", "CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}


@dataclass
class Desk:
    """
    One desk.

    Attributes:
        directory: the copy of the checkout.
        home: of its user, for files that a test gives them.
        environment: of the shell, for a test to add to.
    """

    directory: Path
    home: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            **{
                name: os.environ.get(name, str(Path.home() / usual))
                for name, usual in _OF_THE_MACHINE.items()
            },
        }

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Self]:
        """Give a desk."""
        with tempfile.TemporaryDirectory(prefix="wn-") as name:  # short: sockets lie below it
            directory, home = Path(name) / "wasm-node", Path(name) / "home"
            home.mkdir()
            _copy(directory)
            yield cls(directory, home)
            down = [sys.executable, "-m", "e2e.cluster", "down"]
            subprocess.run(down, cwd=directory, check=True)

    def find_first(self, *folders: Path) -> None:
        """Put folders of programs in front of the PATH."""
        self.environment["PATH"] = ":".join([*map(str, folders), self.environment["PATH"]])

    def type(self, page: Path) -> str:
        """
        Type a page of the checkout; return what was not as it says.

        A README speaks of its own directory, the other pages of the checkout.
        """
        commands = [
            command
            for block in documents.read(page.read_text())
            if not block.not_run
            for command in block.commands
        ]
        where = page.parent if page.stem == "README" else _CHECKOUT
        outcomes = documents.run(
            commands,
            directory=self.directory / where.relative_to(_CHECKOUT),
            environment=self.environment,
            within_s=WITHIN_S,
        )
        return "\n".join(filter(None, map(documents.problem, commands, outcomes)))


def _copy(directory: Path) -> None:
    """Copy what git knows of the checkout, and lend the environment."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=_CHECKOUT, capture_output=True, text=True, check=True)
    for each in filter(None, listed.stdout.split("\0")):
        if (_CHECKOUT / each).is_file():  # git lists what was deleted, too
            (directory / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_CHECKOUT / each, directory / each)
    (directory / ".venv").symlink_to(Path(sys.executable).parents[1])
    os.utime(directory / "requirements.lock", (0, 0))  # so that make finds it made
