"""
The tree of a tar image, in memory: what is where, and what it is.

Every lookup and link is followed here and never on disk, so nothing can lead
out of the tree. `oci.unpacking` builds one beside the files it writes, a JSON
file beside them keeps it, and `oci.program` asks it what a command names.
"""

import collections
import dataclasses
import json
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from wasm_node.agent.model.ids import Digest
from wasm_node.agent.model.image import Kind

_LINKS_MOST = 40


@dataclasses.dataclass
class File:
    """
    A regular file.

    Attributes:
        kind: of wasm it is, else None.
        digest: of its content, if it is wasm.
        what: in words, if it is not.
        layer: number of the layer that it came with.
    """

    kind: Kind | None
    digest: Digest | None
    what: str
    layer: int = 0


@dataclasses.dataclass
class Link:
    """A symbolic link, its target as the image has it."""

    target: str
    layer: int = 0


@dataclasses.dataclass
class Directory:
    """A directory and all below it."""

    children: "dict[str, Node]" = dataclasses.field(default_factory=dict)
    layer: int = 0


Node: TypeAlias = File | Link | Directory


@dataclasses.dataclass(frozen=True)
class Found:
    """A place in the tree with all links on the way followed."""

    parts: tuple[str, ...]
    node: Node


def find(root: Directory, path: str) -> Found | None:
    """Follow a path from the root, links included; None: it leads nowhere."""
    pending = collections.deque(PurePosixPath(path).parts)
    trail: list[tuple[str, Node]] = []
    links = 0
    while pending:
        part = pending.popleft()
        if part.startswith("/"):
            trail.clear()
        elif part == "..":
            del trail[-1:]
        else:
            here = trail[-1][1] if trail else root
            node = here.children.get(part) if isinstance(here, Directory) else None
            if node is None:
                return None
            if isinstance(node, Link):
                links += 1
                if links > _LINKS_MOST:
                    return None
                pending.extendleft(reversed(PurePosixPath(node.target).parts))
            else:
                trail.append((part, node))
    return Found(tuple(name for name, _ in trail), trail[-1][1] if trail else root)


def wasm_files(root: Directory) -> dict[str, File]:
    """Return all files that are wasm, by absolute path, in order."""
    found: dict[str, File] = {}
    todo: list[tuple[str, Directory]] = [("", root)]
    while todo:
        above, directory = todo.pop()
        for name, node in directory.children.items():
            if isinstance(node, Directory):
                todo.append((f"{above}/{name}", node))
            elif isinstance(node, File) and node.kind is not None:
                found[f"{above}/{name}"] = node
    return dict(sorted(found.items()))


def dump(root: Directory) -> bytes:
    """Return the tree as JSON; `load` reads it."""
    return json.dumps(_plain(root), separators=(",", ":")).encode()


def load(content: bytes) -> Directory:
    """
    Read what `dump` wrote.

    Raises:
        ValueError: it is damaged.
    """
    try:
        root = _node(json.loads(content))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"damaged tree: {error!r}") from error
    if not isinstance(root, Directory):
        raise ValueError("damaged tree: its root is no directory")
    return root


def _plain(node: Node) -> dict[str, Any]:
    match node:
        case Directory(children):
            return {"in": {name: _plain(each) for name, each in children.items()}}
        case Link(target):
            return {"to": target}
        case File(kind, digest, what):
            return {"kind": kind, "digest": digest} if kind else {"what": what}


def _node(raw: dict[str, Any]) -> Node:
    if "in" in raw:
        return Directory({name: _node(each) for name, each in raw["in"].items()})
    if "to" in raw:
        return Link(str(raw["to"]))
    if "kind" in raw:
        return File(Kind(raw["kind"]), Digest(raw["digest"]), "")
    return File(None, None, str(raw["what"]))
