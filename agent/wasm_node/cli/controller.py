"""`wasm-node controller`: grant wasm nodes' certificates, look after them."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--config", type=Path, required=True, help="settings file (YAML)")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error")
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("remove-nodes",),
        help="drain and delete all nodes of the release, and end; default: serve until SIGTERM",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="remove-nodes: how long pods have to end (default: 120)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM, or remove the nodes."""
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    if args.log_level != "debug":  # they say each event and each probe that went well
        for chatty in ("kopf", "aiohttp.access"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    # kopf imports this package if it can, only to know its classes when it
    # sees them: 19 MB and a second for nothing.
    sys.modules.setdefault("kubernetes", None)  # type: ignore[arg-type]
    from wasm_node.controller import apiserver, operator, removal, settings

    async def remove() -> None:
        async with apiserver.Api.connect() as api:
            await removal.remove_nodes(api, policy, args.timeout, print)

    try:
        policy = settings.load(args.config)
        asyncio.run(remove() if args.action else operator.serve(policy))
    except (settings.InvalidSettings, apiserver.NoCredentials, apiserver.ApiError) as error:
        print(f"wasm-node controller: {error}", file=sys.stderr)
        return 1
    return 0
