"""
`wasm-node runtime`: become the runtime.

The command line ends here: the runtime is another program, started by exec, so
that no worker ever carries what parsing flags has imported.
"""

import argparse
import os
import sys

from wasm_node.agent import errors
from wasm_node.cli import directories
from wasm_node.protocol import settings

_GRACE = "--shutdown-grace-period-by-pod-priority"
_MOST_S = 86400
_DEFAULT = settings.RuntimeSettings.shutdown


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    directories.add_flags(parser)
    directories.add_logs_flag(parser)
    parser.add_argument(
        "--agent-uid",
        type=int,
        metavar="UID",
        help="the agent's user, where it is another: it gets the socket and the directories",
    )
    parser.add_argument(
        "--cpu-millis",
        type=int,
        metavar="N",
        help="what pods may use in all, in 1/1000 of a core (default: what this process may)",
    )
    parser.add_argument(
        "--memory-bytes",
        type=int,
        metavar="N",
        help="the same for memory (default: what this process may)",
    )
    parser.add_argument(
        "--address",
        default="",
        metavar="IP",
        help="what guests' ports are on, and the pods' IP (default: every address of this host)",
    )
    parser.add_argument(
        _GRACE,
        metavar="PRIORITY=SECONDS,...",
        help="what pods get to end when the runtime is told to, by their priority: those from "
        "PRIORITY on, the lowest first, one group after the other "
        f"(default: {','.join(f'{x.priority}={x.grace_s:g}' for x in _DEFAULT)})",
    )


def run(args: argparse.Namespace) -> int:
    """
    Replace this process; returns never.

    Raises:
        BadInput: what it is told cannot be.
    """
    given: str | None = args.shutdown_grace_period_by_pod_priority
    wanted = settings.RuntimeSettings(
        state=args.state.absolute(),
        run=args.run.absolute(),
        logs=args.log_dir.absolute(),
        agent_uid=args.agent_uid,
        cpu_millis=args.cpu_millis,
        memory_bytes=args.memory_bytes,
        address=args.address,
        shutdown=_DEFAULT if given is None else _groups(given),
    )
    words = [sys.executable, "-P", "-m", "wasm_node.runtime", wanted.to_json()]
    os.execv(sys.executable, words)  # noqa: S606  # becoming it is the point


def _groups(given: str) -> tuple[settings.ShutdownGroup, ...]:
    """
    Read groups of pods, and return them by priority.

    Raises:
        BadInput: what is given is no such list.
    """
    found: dict[int, float] = {}
    for each in given.split(","):
        priority, _, seconds = each.partition("=")
        try:
            group = settings.ShutdownGroup(int(priority), float(seconds))
        except ValueError:
            raise _refused(f"{each!r} is not PRIORITY=SECONDS, as in 0=50") from None
        if not 0 <= group.grace_s <= _MOST_S:
            raise _refused(f"{each!r} is not 0 to {_MOST_S} seconds")
        if group.priority in found:
            raise _refused(f"{group.priority} is there twice")
        found[group.priority] = group.grace_s
    return tuple(settings.ShutdownGroup(*each) for each in sorted(found.items()))


def _refused(why: str) -> errors.BadInput:
    return errors.BadInput(f"{_GRACE}: {why}", reason="InvalidSettings")
