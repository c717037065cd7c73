"""
An image as it lies in the store, and the program found in it.

An artifact (layouts A, B, M) *is* one module. A tar image (layout H) is a tree
in which `command[0]` is looked up as a container runtime would; what the file
is, its bytes decide, never a label or a media type.
"""

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import Path

from wasm_node.agent.model.ids import Digest


class Kind(enum.StrEnum):
    """What the first eight bytes say."""

    MODULE = "module"
    COMPONENT = "component"
    TEXT = "text"
    """WebAssembly text, compiled as it is (for laptops and examples)."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A file that the runtime can be asked to run."""

    path: Path
    digest: Digest
    kind: Kind
    argv: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Command:
    """
    What a command means in a container that runs.

    Attributes:
        program: what is run; its argv is the whole command.
        export: the function that is called instead of the program's start;
            empty: the start.
    """

    program: Program
    export: str = ""


@dataclasses.dataclass(frozen=True)
class Image:
    """
    A pulled image.

    Attributes:
        reference: as the user wrote it.
        image_id: `registry/repository@sha256:...`, for `status.imageID`.
        layout: one letter of the table in docs/images.md, and its maker in
            words, e.g. `B (wasm-to-oci)`; shown in the Pulled event.
        size_bytes: of all layers, as transferred.
        module: the one module of an artifact; None for a tar image.
        tree: the unpacked root of a tar image; None for an artifact.
        entrypoint: of a tar image's config.
        cmd: likewise.
        env: likewise, `NAME=VALUE` split.
        working_dir: likewise; empty is `/`.
    """

    reference: str
    image_id: str
    layout: str
    size_bytes: int
    module: Path | None
    module_digest: Digest | None
    tree: Path | None
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""


@dataclasses.dataclass(frozen=True)
class Kept:
    """
    An image that lies on this node, and what it takes.

    Attributes:
        root: digest of what its reference named: an index or a manifest.
        names: references that name it now, in full; none: all have moved on.
        parts: bytes of what lies on disk for it; images may share it.
        came_at: unix seconds since when it is here.
        used_at: unix seconds when a pod was last seen to use it.
    """

    root: Digest
    names: frozenset[str]
    parts: Mapping[Digest, int]
    came_at: float
    used_at: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """
    What becomes of the images that are here.

    Attributes:
        used: roots of those that pods use now.
        gone: why, by root, of those that are to go.
        freed_bytes: what their going gives back.
    """

    used: frozenset[Digest]
    gone: Mapping[Digest, str]
    freed_bytes: int


@dataclasses.dataclass(frozen=True)
class Collected:
    """
    What came of a collection.

    Attributes:
        gone: roots of the images that were removed.
        freed_bytes: what was removed in all, what no image needs included.
    """

    gone: frozenset[Digest]
    freed_bytes: int
