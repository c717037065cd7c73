"""
A machine of the test bed: programs that have a computer to themselves.

It has processes, mounts, cgroups and a network of its own, on the switch of
its test bed; what its kernel parts are made of is in `hostinit.py`. What runs
on it is its owner's: a host with a kubelet, or a docker daemon.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster import debian, hostinit, processes
from e2e.cluster.network import Network
from e2e.cluster.processes import Guard, Process

_GRACE_S = 15.0
_DISK = ("/var/lib", "/var/log")


@dataclass
class Machine:
    """
    One machine, on or off.

    Attributes:
        name: its hostname.
        directory: of its logs and files.
        disk: what of its files outlives a `power_off`.
        process: what stands outside of the machine and ends with it.
    """

    name: str
    directory: Path
    index: int
    guard: Guard
    network: Network
    disk: Path = field(init=False)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.disk = self.directory / "disk"

    @property
    def address(self) -> str:
        """Its address on the switch."""
        return self.network.host_address(self.index)

    @property
    def root(self) -> Path:
        """Where its file system is to be seen, while it is on."""
        return Path(f"/proc/{self._first_process()}/root")

    def set_up(
        self,
        programs: Mapping[str, Sequence[str | os.PathLike[str]]],
        *,
        path: str,
        disk_in_memory: bool = False,
    ) -> None:
        """
        Write down what it is to run, before it is switched on.

        Args:
            programs: by name, each run in the machine's directory and started
                again whenever it ends.
            path: where programs are looked for, before the usual places.
            disk_in_memory: it is fast, and gone when it is switched off.
        """
        env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
        plan = {
            "name": self.name,
            "directory": str(self.directory),
            "cgroup": f"wasm-node-{self.network.number}-{self.name}",
            "switch": self.network.switch.pid,
            "network": self.network.host_lines(self.index),
            "disk": _DISK,
            "disk_in_memory": disk_in_memory,
            "programs": [
                {"name": name, "argv": [os.fspath(word) for word in argv], "env": env}
                for name, argv in programs.items()
            ],
        }
        self.write("plan.json", plan)

    def power_on(self) -> None:
        """Start all that runs on it; return at once."""
        self.process = self.guard.spawn(
            self.name,
            debian.as_installed(
                sys.executable, "-I", hostinit.__file__, self.directory / "plan.json"
            ),
            directory=self.directory,
            grace_s=_GRACE_S,
        )

    def power_off(self) -> None:
        """End all that runs on it at once; only its disk stays, if at all."""
        self.process.terminate(within_s=_GRACE_S)

    def processes(self, name: str) -> set[int]:
        """Return the pids, as we see them, of those whose name begins so."""
        return processes.named(self.process.pid, name)

    def in_network(self) -> list[str]:
        """Give words that run a command in its network."""
        return ["nsenter", f"--net=/proc/{self._first_process()}/ns/net"]

    def write(self, name: str, content: object) -> None:
        """Write a file of its directory: text, or else JSON."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def _first_process(self) -> int:
        """Return the pid of its PID 1, as we see it."""
        outside = self.process.pid
        return int(Path(f"/proc/{outside}/task/{outside}/children").read_text())
