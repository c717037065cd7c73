"""
`wasm-node ps`: this node's containers, as the runtime knows them.

Works while the API server and the agent are away; while the runtime is away
too, it shows what that left in the state directory, and says so.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from wasm_node.agent import errors
from wasm_node.agent.containers import client
from wasm_node.agent.model import observed
from wasm_node.cli import directories
from wasm_node.protocol import journal, layout, records

HEADINGS = ("POD", "NAMESPACE", "CONTAINER", "ATTEMPT", "STATE", "FOR", "PID")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    directories.add_flags(parser)
    parser.add_argument("-a", "--all", action="store_true", help="show ended containers too")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    containers = client.RuntimeContainers(args.state, args.run / layout.SOCKET)
    try:
        facts = asyncio.run(_listed(containers))
    except errors.Retryable as error:
        print(f"{error}; showing what it left in {args.state}", file=sys.stderr)
        facts = list(_left(args.state))
    shown = [each for each in facts if args.all or isinstance(each, observed.Running)]
    now = time.time_ns() / 1e9
    print(_table([HEADINGS, *(_row(args.state, each, now) for each in shown)]))
    return 0


async def _listed(containers: client.RuntimeContainers) -> Sequence[observed.Fact]:
    return await containers.listed()


def _left(state: Path) -> Iterator[observed.Fact]:
    for each in layout.attempts(state):
        directory = layout.attempt(state, each)
        if (directory / layout.EXIT).exists():
            ended = records.ExitRecord.from_json((directory / layout.EXIT).read_bytes())
            yield observed.Ended(each, ended)
        elif (directory / layout.JOURNAL).exists():
            told = journal.Journal.parse((directory / layout.JOURNAL).read_bytes())
            if told.exit is None:
                yield observed.Running(each, told.pid, told.claimed_at_ns / 1e9)
            else:
                yield observed.Ended(each, told.exit)


def _row(state: Path, fact: observed.Fact, now: float) -> tuple[str, ...]:
    spec = spec_of(state, fact.id)
    name, namespace = (spec.pod_name, spec.pod_namespace) if spec else (fact.id.pod_uid, "?")
    if isinstance(fact, observed.Running):
        tail = ("Running", _span(now - fact.started_at), str(fact.pid))
    else:
        code = f"Exited ({fact.exit.code}, {fact.exit.reason})"
        tail = (code, _span(now - fact.finished_at), "-")
    return (name, namespace, fact.id.container, str(fact.id.attempt), *tail)


def spec_of(state: Path, each: records.AttemptId) -> records.ContainerSpec | None:
    """Return an attempt's spec as it lies on disk, if it does."""
    try:
        raw = (layout.attempt(state, each) / layout.SPEC).read_bytes()
        return records.ContainerSpec.from_json(raw)
    except (OSError, ValueError):
        return None


def names(state: Path, each: records.AttemptId) -> set[str]:
    """Return what a pod may be called: name, NAMESPACE/NAME, uid."""
    spec = spec_of(state, each)
    by_name = {spec.pod_name, f"{spec.pod_namespace}/{spec.pod_name}"} if spec else set()
    return {each.pod_uid, *by_name}


def _span(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    padded = [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in padded)
