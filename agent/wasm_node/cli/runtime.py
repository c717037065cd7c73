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
        "--shutdown-grace",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="what guests get to end when the runtime is told to (default: 10)",
    )
    parser.add_argument(
        "--shutdown-grace-critical",
        type=float,
        metavar="SECONDS",
        help="how much of that is for critical pods, which end last (default: a fifth)",
    )


def run(args: argparse.Namespace) -> int:
    """
    Replace this process; returns never.

    Raises:
        BadInput: what it is told cannot be.
    """
    critical = args.shutdown_grace_critical
    if critical is None:
        critical = args.shutdown_grace / 5
    if not 0 <= critical <= args.shutdown_grace:
        raise errors.BadInput(
            f"--shutdown-grace-critical is {critical:g}: use 0 to {args.shutdown_grace:g}, as it "
            "is a part of --shutdown-grace",
            reason="InvalidSettings",
        )
    wanted = settings.RuntimeSettings(
        state=args.state.absolute(),
        run=args.run.absolute(),
        logs=args.log_dir.absolute(),
        agent_uid=args.agent_uid,
        cpu_millis=args.cpu_millis,
        memory_bytes=args.memory_bytes,
        address=args.address,
        shutdown_grace_s=args.shutdown_grace,
        shutdown_grace_critical_s=critical,
    )
    words = [sys.executable, "-P", "-m", "wasm_node.runtime", wanted.to_json()]
    os.execv(sys.executable, words)  # noqa: S606  # becoming it is the point
