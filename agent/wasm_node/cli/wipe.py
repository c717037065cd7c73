"""
`wasm-node wipe`: remove all that a node has kept on this host.

For the end of a release, after its agents and runtimes: `helm uninstall` runs
it on every host, a person on a machine of their own. It waits for the locks of
both, so that nothing is removed under a program that still writes. The
directories themselves stay, as they may be mounts.
"""

import argparse
import asyncio
import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from wasm_node.agent import errors
from wasm_node.cli import directories

_LOCKS = {"agent.lock": "the agent", "runtime.lock": "the runtime"}
_LOOK_S = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    directories.add_flags(parser)
    directories.add_logs_flag(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait for the agent and the runtime to end (default: 60)",
    )
    parser.add_argument(
        "--wait-for",
        metavar="NAMESPACE/DAEMONSET",
        help="wipe nothing here, but wait until that DaemonSet has done so on all its hosts",
    )


def run(args: argparse.Namespace) -> int:
    """Wipe this host, or wait until all are wiped."""
    if args.wait_for is not None:
        namespace, _, name = args.wait_for.partition("/")
        return asyncio.run(_wait(namespace, name, args.timeout))
    with _alone(args.state, args.timeout):
        for directory in (args.state, args.run, args.log_dir):
            for each in directory.iterdir() if directory.is_dir() else ():
                if each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each)
                else:
                    each.unlink()
            print(f"{directory} is empty")
    return 0


@contextlib.contextmanager
def _alone(state: Path, within_s: float) -> Iterator[None]:
    """Hold the locks of agent and runtime, where there have been such."""
    until = time.monotonic() + within_s
    with contextlib.ExitStack() as held:
        for name, owner in _LOCKS.items():
            if (state / name).exists():
                lock = held.enter_context((state / name).open("a"))
                while not _locked(lock.fileno()):
                    if time.monotonic() > until:
                        text = f"cannot wipe {state}: {owner} still uses it; end it first"
                        raise errors.Retryable(text, reason="InUse")
                    time.sleep(_LOOK_S)
        yield


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _wait(namespace: str, name: str, within_s: float) -> int:
    from wasm_node.controller import apiserver, wiping

    try:
        async with apiserver.Api.connect() as api:
            return 0 if await wiping.wait(api, namespace, name, within_s, print) else 1
    except (apiserver.ApiError, apiserver.NoCredentials) as error:
        raise errors.Retryable(str(error), reason="ApiServer") from error
