"""
`wasm-node VERB`: one command, a verb a file.

A verb's module is imported only when it is asked for: `wasm-node logs` must
not pay for the agent's imports. Each has `configure(parser)` and `run(args)
-> exit code`.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib import metadata

from wasm_node.agent import errors

VERBS = {
    "run": "run a manifest, a .wasm file or a built-in example; no cluster needed",
    "agent": "be a Kubernetes node (talks to the API server and to the runtime)",
    "runtime": "run and keep the containers of this host's agent",
    "controller": "grant certificates to a cluster's wasm nodes, and look after them",
    "ps": "list this node's containers",
    "logs": "print a container's log",
    "exec": "run a command in a container",
    "stop": "stop a pod's containers",
    "wipe": "remove all that a node has kept on this host",
    "pack": "make an OCI artifact of a .wasm file and push or save it",
    "inspect": "say what an image is and whether it can run here",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="wasm-node", description="Run Kubernetes pods as WebAssembly."
    )
    parser.add_argument(
        "--version", action="version", version=f"wasm-node {metadata.version('wasm-node')}"
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, help_text in VERBS.items():
        verb = verbs.add_parser(name, help=help_text, description=help_text)
        if words[:1] == [name]:
            importlib.import_module(f"wasm_node.cli.{name}").configure(verb)
    args = parser.parse_args(words)
    try:
        code = importlib.import_module(f"wasm_node.cli.{args.verb}").run(args)
    except errors.NodeError as error:
        print(f"wasm-node {args.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return int(code)
