"""`wasm-node logs`: print a container's log, with or without a cluster."""

import argparse
import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from wasm_node.agent.logs import changes, finding, following, store
from wasm_node.agent.model import log_options

_BROKEN_PIPE = 141  # 128 + SIGPIPE, as if the signal had not been turned into an error
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+")
_PART = re.compile(r"([0-9.]+)(h|ms|m|s)")
_UNIT_NS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments: kubectl's own, and where to look."""
    parser.add_argument("pod", metavar="POD")
    parser.add_argument("-c", "--container", help="needed where the pod has several")
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("-f", "--follow", action="store_true", help="until the container ends")
    parser.add_argument("-p", "--previous", action="store_true", help="of the attempt before")
    parser.add_argument("--tail", type=_tail, metavar="N", help="last N lines only; -1 is all")
    parser.add_argument("--since", type=_duration_ns, metavar="10m", help="newer lines only")
    parser.add_argument("--timestamps", action="store_true", help="begin each line with its time")
    parser.add_argument("--state", type=Path, default=Path("/var/lib/wasm-node"))
    parser.add_argument("--log-dir", type=Path, default=Path("/var/log/wasm-node"))


def run(args: argparse.Namespace) -> int:
    """Print the log; 141 where nobody reads it any more."""
    options = log_options.LogOptions(
        follow=args.follow,
        previous=args.previous,
        tail_lines=args.tail,
        since_ns=None if args.since is None else time.time_ns() - args.since,
        timestamps=args.timestamps,
    )
    pod, attempt = finding.find_attempt(
        args.log_dir, args.namespace, args.pod, args.container, previous=args.previous
    )
    log = store.CriLogStore(args.log_dir).locate(pod, attempt.container, attempt.attempt)
    try:
        asyncio.run(_print(log, options, lambda: not finding.has_ended(args.state, attempt)))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return _BROKEN_PIPE
    return 0


async def _print(
    log: Path, options: log_options.LogOptions, is_running: Callable[[], bool]
) -> None:
    with changes.Changes() as news:
        async with following.open_log(log, options, is_running=is_running, news=news) as shown:
            async for piece in shown:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()


def _tail(text: str) -> int | None:
    lines = int(text)
    if lines < -1:
        raise ValueError(text)
    return None if lines == -1 else lines


def _duration_ns(text: str) -> int:
    """Return `1h30m`, `10m`, `45s` or `500ms` in nanoseconds."""
    if _DURATION.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write 1h30m, 10m or 45s")
    parts: Iterable[tuple[str, str]] = _PART.findall(text)
    return sum(int(float(number) * _UNIT_NS[unit]) for number, unit in parts)
