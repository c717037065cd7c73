"""
How a runtime is set up: what `wasm-node runtime` hands to the program itself.

The program is started with `-m` and this object as its one argument, in JSON:
no second set of flags to keep in step, and nothing of the command line's
imports in a process that forks a worker per container.
"""

import dataclasses
import json
from pathlib import Path
from typing import Self

from wasm_node.protocol import records

NATIVE = "native"
WASMTIME_PY = "wasmtime-py"
"""The engines, by name."""

_PATHS = ("state", "run", "logs", "scratch")


@dataclasses.dataclass(frozen=True)
class ShutdownGroup:
    """
    Pods that are told to end together when the runtime is.

    Attributes:
        priority: of the pods in it, up to the next group's; what is below the
            lowest group belongs to that.
        grace_s: what they get to end; then it is the next group's turn.
    """

    priority: int
    grace_s: float


AT_ONCE = (ShutdownGroup(0, 0.0),)
"""Nobody is waited for."""


@dataclasses.dataclass(frozen=True)
class RuntimeSettings:
    """
    Settings of one runtime.

    Attributes:
        state: pods and compiled code; kept across restarts.
        run: the sockets; a short path, see `layout.check_run`.
        logs: where log files may lie (below `state` is allowed as well).
        agent_uid: a user beside root and our own that may use the socket; as
            root we give it the directories that the two share.
        first_uid: as root, workers run as this number plus one and up; the
            number itself is the compiler's.
        cpu_millis: what pods may use in all, in thousandths of a core; None is
            what our control group and the host allow.
        memory_bytes: the same for memory.
        address: the IP that guests' ports are on; empty is every one there is.
        shutdown: who ends when, and within what time, when the runtime is told
            to end: at least one group, the lowest priority first. As a
            kubelet's shutdownGracePeriodByPodPriority (KEP-2712), and the only
            way to say it: the pair of one period for all and one for critical
            pods, which a kubelet knows beside it, is two groups, the default.
        owner: pid of the parent whose end, however it comes, is a word to end
            for the runtime too; None is a service of its own.
        scratch: a directory that is of no use to anybody once the runtime has
            ended: it is removed; None is none.
        engine: the engine to run guests with; None is our own where its wheel
            is installed, else wasmtime's Python binding.
    """

    state: Path
    run: Path
    logs: Path
    agent_uid: int | None = None
    first_uid: int = 200000
    cpu_millis: int | None = None
    memory_bytes: int | None = None
    address: str = ""
    shutdown: tuple[ShutdownGroup, ...] = (
        ShutdownGroup(0, 8.0),
        ShutdownGroup(records.CRITICAL_PRIORITY, 2.0),
    )
    owner: int | None = None
    scratch: Path | None = None
    engine: str | None = None

    def to_json(self) -> str:
        """Encode as the program's argument."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, raw: str) -> Self:
        """
        Decode the program's argument.

        Raises:
            ValueError: it is not one of this version.
        """
        try:
            fields = json.loads(raw)
            paths = {name: Path(fields[name]) for name in _PATHS if fields.get(name) is not None}
            groups = tuple(ShutdownGroup(**each) for each in fields["shutdown"])
            return cls(**fields | paths | {"shutdown": groups})
        except (KeyError, TypeError) as error:
            raise ValueError(f"cannot read runtime settings: {error!r}") from error
