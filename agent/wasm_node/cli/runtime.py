"""
`wasm-node runtime`: become the runtime.

The command line ends here: the runtime is another program, started by exec, so
that no worker ever carries what parsing flags has imported.
"""

import argparse
import os
import sys
from pathlib import Path

from wasm_node.cli import directories
from wasm_node.protocol import settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    logs = directories.default().logs
    directories.add_flags(parser)
    parser.add_argument(
        "--log-dir", type=Path, default=logs, metavar="DIR", help=f"default: {logs}"
    )
    parser.add_argument(
        "--agent-uid", type=int, metavar="UID", help="a user beside root that may use the socket"
    )
    parser.add_argument(
        "--shutdown-grace",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="what guests get to end when the runtime is told to (default: 10)",
    )


def run(args: argparse.Namespace) -> int:
    """Replace this process; returns never."""
    wanted = settings.RuntimeSettings(
        state=args.state.absolute(),
        run=args.run.absolute(),
        logs=args.log_dir.absolute(),
        agent_uid=args.agent_uid,
        shutdown_grace_s=args.shutdown_grace,
    )
    words = [sys.executable, "-P", "-m", "wasm_node.runtime", wanted.to_json()]
    os.execv(sys.executable, words)  # noqa: S606  # becoming it is the point
