"""
`wasm-node stop POD`: end a pod's containers on this node, as crictl would.

The agent, if there is one, then does what the pod's restartPolicy says; to be
rid of a pod, delete it in the API server.
"""

import argparse
import asyncio

from wasm_node.agent import errors
from wasm_node.agent.containers import client
from wasm_node.agent.model import observed
from wasm_node.cli import directories, ps
from wasm_node.protocol import layout


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    directories.add_flags(parser)
    parser.add_argument(
        "--grace", type=float, default=0.0, metavar="SECONDS", help="to end by itself (default: 0)"
    )
    parser.add_argument("pod", help="NAME, NAMESPACE/NAME or uid of a pod")


def run(args: argparse.Namespace) -> int:
    """Stop what runs and wait until it has ended."""
    return asyncio.run(_stop(args))


async def _stop(args: argparse.Namespace) -> int:
    containers = client.RuntimeContainers(args.state, args.run / layout.SOCKET)
    waiting = {
        each.id
        for each in await containers.listed()
        if isinstance(each, observed.Running) and args.pod in ps.names(args.state, each.id)
    }
    if not waiting:
        text = f"cannot stop {args.pod}: no container of such a pod runs here (see wasm-node ps)"
        raise errors.NotFound(text, reason="NotFound")
    for each in waiting:
        await containers.stop(each, grace_s=args.grace)
    async for news in containers.facts():
        for fact in observed.facts(news):
            if isinstance(fact, observed.Ended) and fact.id in waiting:
                waiting.discard(fact.id)
                print(f"{args.pod}/{fact.id.container}: {fact.exit.ended_by}, {fact.exit.code}")
        if not waiting:
            break
    return 0
