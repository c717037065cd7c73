"""
Where a node keeps its things unless told otherwise.

Root's places are fixed, so that agent, runtime and `ps` find each other; an
ordinary user's follow the XDG variables.
"""

import argparse
import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Directories:
    """`state` is kept, `run` may vanish at reboot, `logs` is for collectors."""

    state: Path
    run: Path
    logs: Path


def default() -> Directories:
    """Return the places of this user."""
    if os.geteuid() == 0:
        return Directories(
            Path("/var/lib/wasm-node"), Path("/run/wasm-node"), Path("/var/log/wasm-node")
        )
    home = Path.home()
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local/state") / "wasm-node"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    run = Path(runtime) / "wasm-node" if runtime else state / "run"
    return Directories(state, run, state / "logs")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--state` and `--run`, by which programs find each other."""
    where = default()
    parser.add_argument(
        "--state", type=Path, default=where.state, metavar="DIR", help=f"default: {where.state}"
    )
    parser.add_argument(
        "--run", type=Path, default=where.run, metavar="DIR", help=f"default: {where.run}"
    )


def add_logs_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--log-dir`, for programs that make or remove logs."""
    logs = default().logs
    parser.add_argument(
        "--log-dir", type=Path, default=logs, metavar="DIR", help=f"default: {logs}"
    )
