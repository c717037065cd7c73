"""
`wasm-node exec POD -- COMMAND`: run a command in a container, as crictl would.

It is one more run in the container's own sandbox, and needs the runtime alone:
neither the agent nor the API server has to be there. The command has this
command's own streams; when this one ends, it is killed.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator

from wasm_node.agent import errors, interfaces
from wasm_node.agent.containers import client
from wasm_node.agent.model import observed
from wasm_node.agent.oci import lookup
from wasm_node.cli import directories, ps
from wasm_node.protocol import layout, records

CANNOT_RUN = 126


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    directories.add_flags(parser)
    parser.add_argument("-c", "--container", help="needed where several of the pod run")
    parser.add_argument(
        "-i", "--stdin", action="store_true", help="give it our standard input (default: nothing)"
    )
    parser.add_argument("pod", metavar="POD", help="NAME, NAMESPACE/NAME or uid of a pod")
    parser.add_argument(
        "command",
        metavar="-- COMMAND",
        nargs=argparse.REMAINDER,
        help="PROGRAM of the image with arguments, PROGRAM#EXPORT, or #EXPORT",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; its exit code, or 126 where it cannot be run at all."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command or command[0].startswith("-"):
        text = "cannot run nothing: write wasm-node exec [-i] [-c CONTAINER] POD -- COMMAND"
        raise errors.BadInput(text, reason="BadArguments")
    return asyncio.run(_exec(args, command))


async def _exec(args: argparse.Namespace, command: list[str]) -> int:
    containers = client.RuntimeContainers(args.state, args.run / layout.SOCKET)
    facts = await containers.listed()
    running = {each.id for each in facts if isinstance(each, observed.Running)}
    attempt = _chosen(args, running)
    programs = lookup.DiskPrograms(args.state, args.state / "images")
    try:
        found = await programs.find(attempt, command)
        with _streams(stdin=args.stdin) as streams:
            ended = await containers.execute(
                attempt, found.program, export=found.export, streams=streams
            )
    except errors.BadInput as error:
        print(f"wasm-node exec: {error}", file=sys.stderr)
        return CANNOT_RUN
    if ended.ended_by is not records.EndedBy.ITSELF:  # what it has to say, it has said
        print(f"wasm-node exec: {ended.reason}: {ended.message}", file=sys.stderr)
    return ended.code


@contextlib.contextmanager
def _streams(*, stdin: bool) -> Iterator[interfaces.Streams]:
    """Give our own streams, without ours to read from unless it is wanted."""
    with contextlib.ExitStack() as stack:
        source = sys.stdin.fileno() if stdin else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        if not stdin:
            stack.callback(os.close, source)
        yield interfaces.Streams(source, sys.stdout.fileno(), sys.stderr.fileno())


def _chosen(args: argparse.Namespace, running: set[records.AttemptId]) -> records.AttemptId:
    """
    Return the attempt that is meant.

    Raises:
        NotFound: no such container runs here.
        BadInput: several do; says which.
    """
    pods: dict[str, list[records.AttemptId]] = {}
    for each in running:
        if args.pod in ps.names(args.state, each):
            pods.setdefault(each.pod_uid, []).append(each)
    if not pods:
        text = f"cannot run in {args.pod}: no container of such a pod runs here (see wasm-node ps)"
        raise errors.NotFound(text, reason="NotFound")
    if len(pods) > 1:
        text = f"cannot run in {args.pod}: several pods are called so; name one by its uid"
        raise errors.BadInput(f"{text}: {' '.join(sorted(pods))}", reason="BadRequest")
    (found,) = pods.values()
    names = " ".join(sorted(each.container for each in found))
    if args.container is None and len(found) > 1:
        text = f"cannot run in {args.pod}: choose a container with -c, one of: [{names}]"
        raise errors.BadInput(text, reason="BadRequest")
    for each in found:
        if args.container in (None, each.container):
            return each
    text = f"cannot run in container {args.container} of {args.pod}: there run [{names}]"
    raise errors.NotFound(text, reason="NotFound")
