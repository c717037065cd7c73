"""
A test bed that stays up between commands: `make cluster-up`, `cluster-down`.

It is the same test bed as the tests', detached from the command that started
it, with all its files in one directory of the checkout. That directory holds
who to end it by, and `env`, which a shell sources to use it. Both commands
may be given at any time and twice. Tier a is a control plane with one wasm
node as processes; tier b has two hosts with real kubelets, and the chart
installed on them; tier kind has the chart on a cluster of kind.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from e2e.cluster import binaries, guardian, hosts, kind, processes, release
from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.node import WasmNode
from e2e.cluster.registry import Registry

_DOWN_WITHIN_S = 60.0


def up(directory: Path, tier: str = "a") -> Path:
    """
    Bring the test bed up, unless it is, and return the path of its `env`.

    Args:
        directory: of all its files.
        tier: `a`, `b` or `kind`.

    Raises:
        Failed: a part did not come up, and then nothing of it is left; or the
            other tier is up.
    """
    env_file = directory / "env"
    with _alone():
        if running := _tier_up(directory):
            if running != tier:
                raise processes.Failed(
                    f"cannot bring up tier {tier}: tier {running} is up; make cluster-down first"
                )
            return env_file
        _remove(directory)
        with processes.Guard.start() as guard:
            start = {"a": _start_a, "b": _start_b, "kind": _start_kind}[tier]
            env_file.write_text(start(guard, directory))
            record = {"guardian": guard.pid, "started": _start_time(guard.pid), "tier": tier}
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


def _start_a(guard: processes.Guard, directory: Path) -> str:
    plane = ControlPlane.start(guard, directory / "plane")
    registry = Registry.start(guard, directory / "registry")
    node = WasmNode.start(guard, directory / "node", plane)
    variables = {**plane.environment, "REGISTRY": registry.address, "NODE": node.name}
    return _shell_lines(variables, [plane.commands])


def _start_b(guard: processes.Guard, directory: Path) -> str:
    bed = hosts.Hosts.start(guard, directory / "hosts")
    return _shell_lines(_install(bed), [bed.plane.commands, binaries.helm()])


def _start_kind(guard: processes.Guard, directory: Path) -> str:
    bed = kind.Kind.start(guard, directory / "kind")
    commands = [bed.plane.commands, binaries.helm(), *bed.machine.commands]
    return _shell_lines(_install(bed) | bed.machine.environment, commands)


def _install(bed: release.Cluster) -> dict[str, str]:
    """Install the chart; give the variables of a shell that uses it."""
    installed = release.Release(bed)
    installed.install()
    return {
        **bed.plane.environment,
        **installed.environment,
        "REGISTRY": bed.registry.address,
        "NODE": installed.nodes[0],
    }


def _tier_up(directory: Path) -> str | None:
    with _guardian(directory) as pidfd:
        if pidfd is None:
            return None
        tier: str = json.loads((directory / "guardian.json").read_text())["tier"]
        return tier


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


def _shell_lines(variables: Mapping[str, str], commands: Sequence[Path]) -> str:
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    folders = [*commands, Path(sys.executable).parent]  # kubectl, wasm-node
    ours = shlex.quote(":".join(map(str, folders)))
    return "".join(lines) + f'export PATH={ours}:"$PATH"\n'
