"""
Unpacking tar layers into a directory, trusting nothing in them.

A layer may name any path, link anywhere, claim any size and hide lower files.
Where things go is decided on the tree in memory (`oci.trees`), so a link can
never lead a write out of the directory; owners, set-id bits and devices are
dropped; sizes and counts are bounded. Blocking: runs in a thread.
"""

import dataclasses
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import threading
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import magic, trees
from wasm_node.agent.oci.documents import UnusableError

_CHUNK_BYTES = 1 << 20
_READ_MOST_BYTES = 1 << 20
_DEPTH_MOST = 100
_NAME_MOST_BYTES = 255
_TARGET_MOST_BYTES = 4095
_TIME_MOST_S = 1 << 33
_PATH_MOST_BYTES = 4000
_MALFORMED = (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, OverflowError)
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How large an unpacked image may become."""

    bytes_most: int = 4 << 30
    entries_most: int = 200_000


def unpack(
    layers: Iterable[Path], into: Path, *, bounds: Bounds, interrupted: threading.Event
) -> trees.Directory:
    """
    Unpack layers, lowest first, into a new directory and return its tree.

    Directories become 0755 and files 0444 or 0555. Setting `interrupted` ends
    it early.

    Raises:
        UnusableError: malformed, over the bounds, or a name that is not safe.
        InterruptedError: it was interrupted.
    """
    into.mkdir(mode=0o755)
    into.chmod(0o755)
    unpacker = _Unpacker(into, bounds, interrupted)
    for number, layer in enumerate(layers, 1):
        with layer.open("rb") as file:
            unpacker.add(file, number)
    return unpacker.root


class _Bounded(io.RawIOBase):
    """
    A layer's tar stream that answers no read larger than a chunk.

    The tar reader holds a long name or an extended header in memory whole, so
    a header that claims gigabytes must fail rather than be read.
    """

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, interrupted: threading.Event) -> None:
        self._stream = stream
        self._interrupted = interrupted

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _READ_MOST_BYTES:
            raise UnusableError(f"a header of {size} bytes in a layer")
        if self._interrupted.is_set():
            raise InterruptedError
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


class _Unpacker:
    def __init__(self, into: Path, bounds: Bounds, interrupted: threading.Event) -> None:
        self.root = trees.Directory()
        self._into = into
        self._bounds = bounds
        self._interrupted = interrupted
        self._entries = 0
        self._bytes = 0
        self._layer = 0

    def add(self, file: IO[bytes], number: int) -> None:
        """Unpack one layer over what is there."""
        self._layer = number
        head = file.read(4)
        file.seek(0)
        if head == b"\x28\xb5\x2f\xfd":
            raise UnusableError("its layers are compressed with zstd: build it with gzip")
        try:
            plain = gzip.GzipFile(fileobj=file) if head[:2] == b"\x1f\x8b" else file
            self._read(_Bounded(plain, self._interrupted))
        except _MALFORMED as error:
            raise UnusableError(f"layer {number} is not a valid tar: {error}") from error

    def _read(self, stream: _Bounded) -> None:
        with tarfile.TarFile(fileobj=stream, errorlevel=2) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # or it remembers every member
                self._entries += 1
                if self._entries > self._bounds.entries_most:
                    raise UnusableError(f"it has more than {self._bounds.entries_most} files")
                self._add_member(tar, member)

    def _add_member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if member.size < 0:
            raise UnusableError(f"a file of {member.size} bytes in a layer")
        if not parts:
            return
        name = parts[-1]
        parent = self._directory(parts[:-1])
        if name == _OPAQUE:
            self._prune(parent)
        elif name.startswith(_WHITEOUT):
            self._hide(parent, name.removeprefix(_WHITEOUT))
        elif member.isdir():
            self._make_directory(parent, name)
        elif member.isreg():
            self._add_file(tar, member, parent, name)
        elif member.issym():
            self._add_link(member, parent, name)
        elif member.islnk():
            self._add_hard_link(member, parent, name)

    def _directory(self, parts: tuple[str, ...]) -> trees.Found:
        """Return a directory with links followed, made where it is missing."""
        here = trees.Found((), self.root)
        for part in parts:
            node = _children(here).get(part)
            if node is None:
                here = self._make_directory(here, part)
                continue
            found = trees.find(self.root, "/" + "/".join((*here.parts, part)))
            if found is None or not isinstance(found.node, trees.Directory):
                raise UnusableError(f"a path in it leads through /{'/'.join(parts)}: no directory")
            here = found
        return here

    def _make_directory(self, parent: trees.Found, name: str) -> trees.Found:
        node = _children(parent).get(name)
        place = (*parent.parts, name)
        if not isinstance(node, trees.Directory):
            self._remove(parent, name)
            node = trees.Directory(layer=self._layer)
            self._path(place).mkdir(mode=0o755)
            self._path(place).chmod(0o755)
            _children(parent)[name] = node
        node.layer = self._layer
        return trees.Found(place, node)

    def _add_file(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, parent: trees.Found, name: str
    ) -> None:
        self._bytes += member.size
        if self._bytes > self._bounds.bytes_most:
            raise UnusableError(f"it unpacks to more than {self._bounds.bytes_most >> 20} MiB")
        source = tar.extractfile(member)
        if source is None:
            raise UnusableError(f"/{'/'.join((*parent.parts, name))} has no content")
        self._remove(parent, name)
        path = self._path((*parent.parts, name))
        node, head, hasher = trees.File(None, None, "", self._layer), b"", hashlib.sha256()
        with path.open("xb") as sink:
            while chunk := source.read(_CHUNK_BYTES):
                if not head:
                    head = chunk[: magic.HEAD_BYTES]
                    node.kind = magic.kind(head)
                if node.kind is not None:
                    hasher.update(chunk)
                sink.write(chunk)
            os.fchmod(sink.fileno(), 0o555 if member.mode & 0o111 else 0o444)
        seconds = min(max(int(member.mtime), 0), _TIME_MOST_S)
        os.utime(path, (seconds, seconds))  # .pyc files hold their source's
        if node.kind is None:
            node.what = magic.describe(head)
        else:
            node.digest = Digest(f"sha256:{hasher.hexdigest()}")
        _children(parent)[name] = node

    def _add_link(self, member: tarfile.TarInfo, parent: trees.Found, name: str) -> None:
        target = member.linkname
        if not target or "\0" in target or len(os.fsencode(target)) > _TARGET_MOST_BYTES:
            raise UnusableError(f"/{'/'.join((*parent.parts, name))} links to a bad name")
        self._remove(parent, name)
        shown = contained(target, parent.parts)
        self._path((*parent.parts, name)).symlink_to(shown)
        _children(parent)[name] = trees.Link(target, self._layer)

    def _add_hard_link(self, member: tarfile.TarInfo, parent: trees.Found, name: str) -> None:
        parts = _parts(member.linkname)
        above = trees.find(self.root, "/" + "/".join(parts[:-1]))
        other = _children(above).get(parts[-1]) if above and parts else None
        if above is None or other is None or isinstance(other, trees.Directory):
            raise UnusableError(f"it has a hard link to /{'/'.join(parts)}, which is no file")
        place = (*parent.parts, name)
        if (*above.parts, parts[-1]) == place:
            return
        self._remove(parent, name)
        if isinstance(other, trees.Link):  # may lie deeper or higher: written anew
            self._path(place).symlink_to(contained(other.target, parent.parts))
        else:
            self._path(place).hardlink_to(self._path((*above.parts, parts[-1])))
        _children(parent)[name] = dataclasses.replace(other, layer=self._layer)

    def _hide(self, parent: trees.Found, name: str) -> None:
        """Remove what lower layers have under a name."""
        node = _children(parent).get(name)
        if isinstance(node, trees.Directory):
            self._prune(trees.Found((*parent.parts, name), node))
            if node.layer == self._layer or node.children:
                return
        if node is not None and node.layer < self._layer:
            self._remove(parent, name)

    def _prune(self, directory: trees.Found) -> None:
        """Remove what lower layers have in a directory."""
        for name in list(_children(directory)):
            self._hide(directory, name)

    def _remove(self, parent: trees.Found, name: str) -> None:
        node = _children(parent).pop(name, None)
        path = self._path((*parent.parts, name))
        if isinstance(node, trees.Directory):
            shutil.rmtree(path)
        elif node is not None:
            path.unlink()

    def _path(self, parts: tuple[str, ...]) -> Path:
        path = self._into.joinpath(*parts)
        if len(os.fsencode(path)) > _PATH_MOST_BYTES:
            raise UnusableError(f"the path /{'/'.join(parts)[:200]}... in it is too long")
        return path


def contained(target: str, at: tuple[str, ...]) -> str:
    """
    Return a link's target as it is written on disk, inside the tree.

    A guest sees the tree as its root, but its sandbox follows no absolute link;
    so these become relative ones, and what climbs above the root stays there.
    """
    steps = [] if target.startswith("/") else list(at)
    climbed = target.startswith("/")
    for part in target.split("/"):
        if part == "..":
            climbed = climbed or not steps
            del steps[-1:]
        elif part not in {"", "."}:
            steps.append(part)
    return "/".join((*[".."] * len(at), *steps)) or "." if climbed else target


def _children(found: trees.Found) -> dict[str, trees.Node]:
    return found.node.children if isinstance(found.node, trees.Directory) else {}


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts or "\0" in name or len(parts) > _DEPTH_MOST:
        raise UnusableError(f"it has a file with the name {name[:200]!r}")
    if any(len(os.fsencode(part)) > _NAME_MOST_BYTES for part in parts):
        raise UnusableError(f"it has a file with the name {name[:200]!r}")
    return parts
