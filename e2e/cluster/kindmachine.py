"""
A machine with a docker daemon, for kind to make its nodes on.

The daemon is Debian's, with networks, filter rules, cgroups and a disk of its
own: nothing of it is to be seen on the machine that it stands on, and all of
it ends with it, the disk too. kind and docker, which run outside, find it by
its socket. What it may not do for want of rights is in `kindrunc.py`.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from e2e.cluster import binaries, debian, kindrunc, processes
from e2e.cluster.machine import Machine
from e2e.cluster.network import Network
from e2e.cluster.processes import Guard

_WITHIN_S = 60.0


@dataclass
class DockerMachine(Machine):
    """A machine with a docker daemon."""

    @classmethod
    def start(cls, guard: Guard, directory: Path, network: Network) -> Self:
        """
        Start it in a new directory and return when its daemon answers.

        Raises:
            Failed: it does not.
        """
        directory.mkdir(parents=True)
        made = cls("docker", directory, 0, guard, network)
        made._configure()
        made.power_on()
        processes.wait_until(made._answers, "docker", within_s=_WITHIN_S, alive=[made.process])
        return made

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead docker and kind to it."""
        return {
            "DOCKER_HOST": f"unix://{self.root}/run/docker.sock",
            "DOCKER_CONFIG": str(self.directory),  # nobody's own
        }

    @property
    def commands(self) -> list[Path]:
        """Folders with `kind` and `docker` in them, for a PATH."""
        return [binaries.kind(), self.directory / "commands"]

    def run(self, *words: str | Path) -> str:
        """
        Run docker or kind and return what it prints.

        Raises:
            CalledProcessError: it failed; its message is in the note.
        """
        path = ":".join([*map(str, self.commands), os.environ["PATH"]])
        return processes.printed_by(words, {**self.environment, "PATH": path})

    def pid_of(self, container: str) -> int:
        """Return the first process of a container, as we see it."""
        theirs = self.run("docker", "inspect", "--format={{.State.Pid}}", container).strip()
        for pid in self.processes(""):
            numbers = _numbers(pid)
            if numbers[1:2] == [theirs]:
                return pid
        raise LookupError(f"cannot find the first process of {container}: docker says {theirs}")

    def _configure(self) -> None:
        commands = self.directory / "commands"
        commands.mkdir()
        (commands / "docker").symlink_to(debian.tree() / "usr/bin/docker")
        # Debian makes these links when it installs the package.
        for name in ("iptables", "ip6tables"):
            (commands / name).symlink_to(f"/usr/sbin/{name}-nft")
        runc = commands / "runc-bounded"
        runc.write_text(f'#!/bin/sh\nexec {sys.executable} -I {kindrunc.__file__} "$@"\n')
        runc.chmod(0o755)
        daemon = {
            "hosts": ["unix:///run/docker.sock"],
            "runtimes": {"bounded": {"path": str(runc)}},
            "default-runtime": "bounded",
        }
        self.write("daemon.json", daemon)
        self.set_up(
            {"dockerd": ["dockerd", f"--config-file={self.directory}/daemon.json"]},
            path=str(commands),
            disk_in_memory=True,
        )

    def _answers(self) -> bool:
        try:
            return (self.root / "run/docker.sock").is_socket() and bool(self.run("docker", "ps"))
        except (OSError, ValueError, subprocess.CalledProcessError):
            return False


def _numbers(pid: int) -> list[str]:
    """List the numbers that a process has in the PID namespaces it is in."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # gone meanwhile
        return []
    return next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
