"""
`wasm-node run`: a manifest, a .wasm file or a built-in example; no cluster.

What the target is, its name says: a manifest ends in .yaml, .yml or .json; a
file that exists is wasm; what is neither is looked up among the examples.
"""

import argparse
import asyncio
import logging
from importlib import resources
from pathlib import Path

from wasm_node.agent import errors, laptop
from wasm_node.agent.files import manifests

_PORT = 8080


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--watch", action="store_true", help="start anew when the file changes")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every event")
    parser.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help=f"where a program that serves HTTP is asked, on loopback (default: {_PORT})",
    )
    parser.add_argument("target", help="example name, FILE.wasm, FILE.wat or MANIFEST.yaml")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="arguments of the guest")


def run(args: argparse.Namespace) -> int:
    """Run until the pods have ended or Ctrl-C; return the guest's exit code."""
    # What a person needs comes as events; the agent's own log is for us.
    logging.basicConfig(level=logging.DEBUG if args.verbose else logging.CRITICAL)
    path = _find(args.target)
    manifest = path.suffix in (".yaml", ".yml", ".json")
    if manifest and args.args:
        raise errors.BadInput(
            "cannot give arguments to a manifest: write them into its args", reason="BadArguments"
        )
    if manifest and args.port is not None:
        raise errors.BadInput(
            "cannot give a port to a manifest: write it into its ports", reason="BadArguments"
        )

    def read() -> manifests.Manifests:
        if manifest:
            return manifests.read(path)
        return manifests.bare(path, _name(path), tuple(args.args), args.port or _PORT)

    return asyncio.run(
        laptop.run(
            read,
            alone=not manifest,
            watched=path if args.watch else None,
            verbose=args.verbose,
        )
    )


def _find(target: str) -> Path:
    path = Path(target)
    if path.is_file():
        return path
    directory = Path(str(resources.files("wasm_node") / "examples"))
    examples = {each.stem: each for each in directory.glob("*.wat")}
    if target in examples:
        return examples[target]
    raise errors.NotFound(
        f"cannot run {target}: there is no such file, and no example of that name "
        f"(examples: {', '.join(sorted(examples))})",
        reason="NotFound",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _name(path: Path) -> str:
    kept = "".join(each if each.isalnum() else "-" for each in path.stem.lower())
    return kept.strip("-")[:63] or "main"
