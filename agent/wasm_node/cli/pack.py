"""`wasm-node pack`: make an OCI artifact of a .wasm; push or save it."""

import argparse
from pathlib import Path

from wasm_node.agent import errors


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("file", type=Path, help="a module or component (.wasm)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--push", metavar="NAME", help="REGISTRY/NAME:TAG to push to")
    where.add_argument("--save", metavar="TAR", type=Path, help="write an OCI image layout")
    parser.add_argument(
        "--plain-http", action="store_true", help="push without TLS (on loopback always so)"
    )


def run(args: argparse.Namespace) -> int:
    """Pack, and say what was made and what to do with it."""
    from wasm_node.agent.oci import packing, reference

    to = reference.parse(args.push) if args.push else None
    try:
        artifact = packing.pack(args.file.read_bytes(), args.file.name)
        if to is None:
            packing.save(artifact, args.save)
    except OSError as error:
        raise errors.BadInput(
            f"cannot open {error.filename}: {error.strerror}", reason="NotFound"
        ) from error
    if to is None:
        print(f"{args.save}@{artifact.digest}")
        print(f"copy it to a registry, e.g.: skopeo copy oci-archive:{args.save} docker://NAME:TAG")
        return 0
    packing.push(artifact, to, plain_http=args.plain_http)
    print(f"{to.domain}/{to.path}:{to.tag}@{artifact.digest}")
    print(f"look at it: wasm-node inspect {args.push}")
    return 0
