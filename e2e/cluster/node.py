"""
A wasm node of the test bed: `wasm-node runtime` and `wasm-node agent`.

Two processes as on a host, each of which a test may kill and start again; the
directory stays, as a host's disk would.
"""

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from e2e.cluster import guardian, processes
from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.processes import Guard, Process, wait_until

_READY_WITHIN_S = 30.0
_COMMAND = str(Path(sys.executable).parent / "wasm-node")
_GRACE_S = 10.0


@dataclass
class WasmNode:
    """
    One node and its two processes.

    Attributes:
        name: of the Node.
        state: its state directory.
        logs: where its containers' logs lie.
        settings: of its agent, beside those that every node here has.
        limits: flags of its runtime, likewise.
        through: a command that runs both processes.
        runtime: the process of `wasm-node runtime`, its init.
        agent: the process of `wasm-node agent`.
    """

    name: str
    directory: Path
    state: Path
    logs: Path
    _guard: Guard
    _plane: ControlPlane
    settings: Mapping[str, object] = field(default_factory=dict)
    limits: Sequence[str] = ()
    through: Sequence[str] = ()
    runtime: Process = field(init=False)
    agent: Process = field(init=False)

    @classmethod
    def start(
        cls,
        guard: Guard,
        directory: Path,
        plane: ControlPlane,
        name: str = "wasm-a",
        *,
        settings: Mapping[str, object] | None = None,
        limits: Sequence[str] = (),
        state: Path | None = None,
        through: Sequence[str] = (),
    ) -> Self:
        """
        Start both processes in a new directory; return when it is Ready.

        With `state` that is elsewhere.
        """
        directory.mkdir(parents=True)
        made = cls(
            name,
            directory,
            state or directory / "state",
            directory / "logs",
            guard,
            plane,
            settings or {},
            limits,
            through,
        )
        made._configure()
        made.start_runtime()
        made.start_agent()
        made.wait_ready()
        return made

    def _configure(self) -> None:
        credentials = self._plane.node_credentials(self.name, ["127.0.0.1"])
        settings = {
            "nodeName": self.name,
            "kubeconfig": str(credentials.kubeconfig),
            "stateDir": str(self.state),
            "runDir": str(self.directory / "run"),
            "logDir": str(self.logs),
            "address": {"value": "127.0.0.1"},
            "healthPort": 0,
            "kubelet": {
                "bind": "127.0.0.1",
                "port": self._guard.claim_port(),
                "certificateFile": str(credentials.serving.cert),
                "keyFile": str(credentials.serving.key),
                "clientCaFile": str(credentials.client_ca),
            },
        }
        (self.directory / "agent.yaml").write_text(json.dumps({**settings, **self.settings}))

    def flags(self) -> list[str]:
        """Give the flags that lead any `wasm-node` command to this node."""
        return ["--state", str(self.state), "--run", str(self.directory / "run")]

    def start_runtime(self) -> None:
        """Start the runtime; return at once."""
        self.runtime = self._guard.spawn(
            f"{self.name}-runtime",
            [
                *self.through,
                _COMMAND,
                "runtime",
                *self.flags(),
                "--log-dir",
                self.logs,
                *self.limits,
            ],
            directory=self.directory,
            grace_s=_GRACE_S,
        )

    def start_agent(self) -> None:
        """Start the agent; return at once."""
        self.agent = self._guard.spawn(
            f"{self.name}-agent",
            [*self.through, _COMMAND, "agent", "--config", self.directory / "agent.yaml"],
            directory=self.directory,
            grace_s=_GRACE_S,
        )

    def processes(self, name: str) -> set[int]:
        """
        Return the pids below the runtime whose name begins so.

        `wasm:CONTAINER` are the workers; the kernel keeps 15 bytes of a name.
        """
        return processes.named(self.runtime.pid, name)

    def service(self, name: str) -> int:
        """
        Return the pid of a part of the runtime: `supervisor`, `fork server`.

        What that forks has its name for a moment, and is younger.
        """
        began = {}
        for pid in self.processes(f"wasm-node {name}"):
            with contextlib.suppress(FileNotFoundError):
                began[guardian.start_ticks(pid)] = pid
        return began[min(began)]

    def wait_ready(self) -> None:
        """Return once the Node is Ready."""
        wait_until(
            lambda: self._plane.node_is_ready(self.name),
            f"node {self.name} Ready",
            within_s=_READY_WITHIN_S,
            alive=[self.runtime, self.agent],
        )
