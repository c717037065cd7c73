"""`wasm-node agent`: be a Kubernetes node."""

import argparse
import asyncio
import logging
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--config", type=Path, required=True, help="settings file (YAML)")
    parser.add_argument("--node-name", metavar="NAME", help="counts more than nodeName")
    parser.add_argument("--address", metavar="IP", help="counts more than address.value")
    parser.add_argument("--host-ip", metavar="IP", help="counts more than hostIp")
    parser.add_argument(
        "--log-level",
        default="info",
        choices=("debug", "info", "warning", "error"),
        help="what is written to stderr at least (default: info)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    from wasm_node.agent import app, settings

    chosen = settings.load(
        args.config,
        node_name=args.node_name,
        address=args.address,
        host_ip=args.host_ip,
    )
    asyncio.run(app.serve(chosen))
    return 0
