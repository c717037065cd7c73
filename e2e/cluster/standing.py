"""
A test bed that stays up between commands: `make cluster-up`, `cluster-down`.

It is the same test bed as the tests', detached from the command that started
it, with all its files in one directory of the checkout. That directory holds
who to end it by, and `env`, which a shell sources to use it. Both commands
may be given at any time and twice.
"""

import contextlib
import fcntl
import json
import os
import select
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from e2e.cluster import guardian, processes
from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.node import WasmNode
from e2e.cluster.registry import Registry

_DOWN_WITHIN_S = 60.0


def up(directory: Path) -> Path:
    """
    Bring the test bed up, unless it is, and return the path of its `env`.

    Raises:
        Failed: a part did not come up; then nothing of it is left.
    """
    env_file = directory / "env"
    with _alone():
        if _is_up(directory):
            return env_file
        _remove(directory)
        with processes.Guard.start() as guard:
            plane = ControlPlane.start(guard, directory / "plane")
            registry = Registry.start(guard, directory / "registry")
            node = WasmNode.start(guard, directory / "node", plane)
            variables = {**plane.environment, "REGISTRY": registry.address, "NODE": node.name}
            env_file.write_text(_shell_lines(variables, plane.commands))
            record = {"guardian": guard.pid, "started": _start_time(guard.pid)}
            (directory / "guardian.json").write_text(json.dumps(record))
            guard.detach()
    return env_file


def down(directory: Path) -> None:
    """
    End the test bed and remove its directory; no error if there is none.

    Raises:
        Failed: a process survived.
    """
    with _alone():
        _remove(directory)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep a second command waiting until the first has ended."""
    source = os.open(Path(__file__).parent, os.O_RDONLY)  # its lock leaves no file
    try:
        fcntl.flock(source, fcntl.LOCK_EX)
        yield
    finally:
        os.close(source)


def _is_up(directory: Path) -> bool:
    with _guardian(directory) as pidfd:
        return pidfd is not None


def _remove(directory: Path) -> None:
    with _guardian(directory) as pidfd:
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(_DOWN_WITHIN_S * 1000):
                raise processes.Failed(
                    f"cannot end the test bed in {directory} within {_DOWN_WITHIN_S} s"
                )
    if directory.exists():
        shutil.rmtree(directory)


@contextlib.contextmanager
def _guardian(directory: Path) -> Iterator[int | None]:
    """Give a pidfd of the recorded guardian, None if it is gone."""
    try:
        record = json.loads((directory / "guardian.json").read_text())
        pidfd = os.pidfd_open(record["guardian"])
    except (FileNotFoundError, ProcessLookupError):
        yield None
        return
    try:
        same = _start_time(record["guardian"]) == record["started"]
        yield pidfd if same else None
    finally:
        os.close(pidfd)


def _start_time(pid: int) -> int | None:
    """Return when a process began; None if it is gone."""
    try:
        return guardian.start_ticks(pid)
    except FileNotFoundError:
        return None


def _shell_lines(variables: Mapping[str, str], commands: Path) -> str:
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    ours = shlex.quote(f"{commands}:{Path(sys.executable).parent}")  # kubectl, wasm-node
    return "".join(lines) + f'export PATH={ours}:"$PATH"\n'
