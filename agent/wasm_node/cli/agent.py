"""`wasm-node agent`: be a Kubernetes node."""

import argparse
import asyncio
import logging
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--config", type=Path, required=True, help="settings file (YAML)")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error")
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    from wasm_node.agent import app, settings

    asyncio.run(app.serve(settings.load(args.config)))
    return 0
