"""
`wasm-node inspect`: what an image is, and whether it can run here.

Takes a .wasm or .wat file, or an image, which is pulled into the cache that
`wasm-node run` uses. Exit code 1 says that it cannot run.
"""

import argparse
import asyncio
import itertools
import os
from pathlib import Path

from wasm_node.agent import errors
from wasm_node.agent.model import image


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("target", help="an image, or FILE.wasm or FILE.wat")


def run(args: argparse.Namespace) -> int:
    """Print what the target is, a line each, and whether it can run."""
    path = Path(args.target)
    if path.is_file():
        return _show_file(path)
    if path.suffix in {".wasm", ".wat"} or args.target.startswith((".", "/")):
        raise errors.BadInput(f"cannot inspect {path}: no such file", reason="NotFound")
    return _show_image(*asyncio.run(_pull(args.target)))


def _show_file(path: Path) -> int:
    from wasm_node.agent.oci import magic

    content = path.read_bytes()
    _line("file", path)
    _line("size", f"{len(content)} bytes")
    kind = magic.kind(content[: magic.HEAD_BYTES])
    if kind is None:
        return _verdict(f"it is {magic.describe(content)}, not WebAssembly")
    return _show_program(kind, content)


async def _pull(target: str) -> tuple[image.Image, image.Program | errors.BadInput]:
    from wasm_node.agent.oci import puller

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    async with puller.RegistryPuller(cache / "wasm-node" / "run" / "images") as images:
        found = await images.pull(target)
        try:
            return found, images.program(found, (), ())
        except errors.BadInput as error:
            return found, error


def _show_image(found: image.Image, program: image.Program | errors.BadInput) -> int:
    _line("image", found.reference)
    _line("id", found.image_id)
    _line("layout", found.layout)
    _line("size", f"{found.size_bytes} bytes")
    if found.tree is not None:
        _line("entrypoint", " ".join(found.entrypoint) or "-")
        _line("cmd", " ".join(found.cmd) or "-")
    if isinstance(program, errors.BadInput):
        return _verdict(str(program))
    _line("program", f"{program.digest} as {' '.join(program.argv)}")
    return _show_program(program.kind, program.path.read_bytes())


def _show_program(kind: image.Kind, content: bytes) -> int:
    from wasm_node.agent.oci import wasm_header, worlds

    _line("kind", kind.value)
    if kind is image.Kind.TEXT:
        return _verdict(None)
    seen = wasm_header.interface(content)
    for module, names in itertools.groupby(sorted(set(seen.imports)), key=lambda each: each[0]):
        _line("imports", " ".join([module, *(name for _, name in names if name)]))
    _line("exports", " ".join(seen.exports) or "-")
    return _verdict(worlds.obstacle(kind, seen))


def _line(name: str, value: object) -> None:
    shown = "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in str(value)
    )
    print(f"{name:<11} {shown}")


def _verdict(obstacle: str | None) -> int:
    _line("can run", "yes" if obstacle is None else f"no: {obstacle}")
    return 0 if obstacle is None else 1
