"""
Blobs, references and trees on disk: nothing in it is ever half there.

`images/blobs/sha256/HEX` holds read-only blobs, `images/refs/` which digest a
reference named last, `images/trees/sha256/HEX` the unpacked tar images with a
`HEX.json` beside each, `images/used/HEX` an empty file for each image, whose
time is when it was used last. All is made in `images/partial/` and moved by
rename. A blob's size is checked at every use and its digest at the first use
by this process, so what decayed on disk is fetched again and not run. Blocking.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Self

from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import trees
from wasm_node.agent.oci.documents import UnusableError

_HEX = re.compile("[a-f0-9]{64}")
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are


class MismatchError(Exception):
    """Bytes are not those that were announced; the text says how."""


@dataclasses.dataclass(frozen=True)
class Root:
    """
    An image that is here, by what its reference named.

    Attributes:
        names: references that name it now.
        came_at: unix seconds since when its index or manifest is here; 0: it
            is not.
        used_at: unix seconds of its last use, as far as that is known; not
            before it came.
    """

    names: frozenset[str]
    came_at: float
    used_at: float


class Store:
    """One images directory; any number of processes may share it."""

    def __init__(self, images: Path) -> None:
        self._blobs = images / "blobs" / "sha256"
        self._references = images / "refs"
        self._trees = images / "trees" / "sha256"
        self._used = images / "used"
        self._partial = images / "partial"
        self._sound: set[Digest] = set()
        self._known_trees: dict[Path, trees.Directory] = {}
        self._tree_bytes: dict[Path, int] = {}

    def make(self) -> None:
        """Make the directories and clear what a killed process left behind."""
        for each in (self._blobs, self._references, self._trees, self._used, self._partial):
            each.mkdir(parents=True, exist_ok=True)
            for directory in (each, each.parent):
                directory.chmod(0o755)  # the runtime may be another user
        for left in self._partial.iterdir():
            with contextlib.suppress(OSError), _locked(left):
                shutil.rmtree(left, ignore_errors=True)

    def blob(self, digest: Digest) -> Path:
        """Return where a blob lies or would lie."""
        return self._blobs / _hex(digest)

    def has(self, digest: Digest, size_bytes: int | None = None) -> bool:
        """
        Say whether a blob is here and whole; remove it if it is damaged.

        Without a size only the digest is checked.
        """
        path = self.blob(digest)
        try:
            actual = path.stat().st_size
            if actual != size_bytes is not None or (
                digest not in self._sound and _digest_of(path) != digest
            ):
                self._sound.discard(digest)
                path.unlink(missing_ok=True)
                return False
        except FileNotFoundError:
            return False
        self._sound.add(digest)
        return True

    def read(self, digest: Digest, most_bytes: int) -> bytes | None:
        """
        Return a small blob's content; None: it is not here or not whole.

        Raises:
            UnusableError: it is larger than `most_bytes`.
        """
        if not self.has(digest):
            return None
        with self.blob(digest).open("rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise UnusableError(f"{digest} is larger than {most_bytes} bytes: a layer?")
        return content

    def put(self, content: bytes) -> Digest:
        """Keep a small blob and return its digest."""
        digest = digest_of(content)
        if not self.has(digest, len(content)):
            with Incoming(self, digest, len(content)) as incoming:
                incoming.write(content)
                incoming.commit()
        return digest

    def adopt(self, digest: Digest, file: Path) -> None:
        """Take a file whose digest was checked as a blob."""
        file.chmod(0o444)
        file.replace(self.blob(digest))
        self._sound.add(digest)

    def point(self, reference: str, digest: Digest) -> None:
        """
        Note what a reference names now.

        NB: that it is used first, so that nothing is named without a time.
        """
        self.use(digest)
        path = self._reference(reference)
        with self.partial() as directory:
            made = directory / "ref"
            made.write_text(json.dumps({"reference": reference, "digest": digest}))
            made.chmod(0o444)
            made.replace(path)

    def pointed(self, reference: str) -> Digest | None:
        """Return what a reference named last; None: never seen."""
        try:
            return Digest(json.loads(self._reference(reference).read_bytes())["digest"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def use(self, digest: Digest) -> None:
        """Note that the image of this root is used now, if possible."""
        with contextlib.suppress(OSError):  # else it counts from when it came
            (self._used / _hex(digest)).touch(mode=0o644)

    def roots(self) -> Mapping[Digest, Root]:
        """Return all images there are, whole or not, by digest."""
        names: dict[Digest, set[str]] = {}
        for name, digest in self._pointers().values():
            names.setdefault(digest, set()).add(name)
        marks = {
            Digest(f"sha256:{each.name}"): _time(each)
            for each in self._used.iterdir()
            if _HEX.fullmatch(each.name)
        }
        came = {digest: _time(self.blob(digest)) for digest in {*names, *marks}}
        return {
            digest: Root(
                names=frozenset(names.get(digest, ())),
                came_at=at,
                used_at=max(at, marks.get(digest, 0.0)),
            )
            for digest, at in came.items()
        }

    def size(self, digest: Digest) -> int | None:
        """Return what blob and tree of a digest take; None: neither is here."""
        found = 0
        with contextlib.suppress(FileNotFoundError):
            found += _taken(self.blob(digest).stat())
        path = self.tree(digest)
        if path.is_dir():
            if path not in self._tree_bytes:
                self._tree_bytes[path] = sum(_taken(each.lstat()) for each in path.rglob("*"))
            found += self._tree_bytes[path]
        return found or None

    def before(self, time: float) -> frozenset[Digest]:
        """Return the digests of all blobs and trees that came before then."""
        hexes = {
            each.name.removesuffix(".json")
            for directory in (self._blobs, self._trees)
            for each in directory.iterdir()
            if _time(each) < time
        }
        return frozenset(Digest(f"sha256:{each}") for each in hexes)

    def remove(self, roots: Collection[Digest], digests: Collection[Digest]) -> None:
        """
        Remove images, and blobs and trees; what is not there is no error.

        In this order, so that a process that is killed in between leaves no
        image without its parts, but parts without an image: `before` finds
        them. NB: whoever calls this sees to it that nobody wants them.

        Raises:
            OSError: something cannot be removed.
        """
        for path, (_, digest) in self._pointers().items():
            if digest in roots:
                path.unlink(missing_ok=True)
        for each in roots:
            (self._used / _hex(each)).unlink(missing_ok=True)
        for each in digests:
            self._sound.discard(each)
            self.blob(each).unlink(missing_ok=True)
            self._remove_tree(self.tree(each))

    def _remove_tree(self, path: Path) -> None:
        self._known_trees.pop(path, None)
        self._tree_bytes.pop(path, None)
        # Not `partial()`: the disk may have no room for a directory. No name
        # twice: what could not be cleared then is in nobody's way.
        aside = self._partial / f"{path.name}.{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            path.replace(aside)
        path.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)

    def _pointers(self) -> Mapping[Path, tuple[str, Digest]]:
        """Return what references name, by their files; damaged ones aside."""
        found = {}
        for path in self._references.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                read = json.loads(path.read_bytes())
                if _HEX.fullmatch(_hex(read["digest"])):  # it names files that go
                    found[path] = str(read["reference"]), Digest(read["digest"])
        return found

    def tree(self, digest: Digest) -> Path:
        """Return where the tree of a manifest lies or would lie."""
        return self._trees / _hex(digest)

    def has_tree(self, digest: Digest) -> bool:
        """Say whether a tree is here and its wasm is whole; else remove it."""
        path = self.tree(digest)
        if path in self._known_trees:
            return path.is_dir()
        if not path.is_dir():
            return False
        try:
            root = self.known_tree(path)
            for name, file in trees.wasm_files(root).items():
                if _digest_of(path / name[1:]) != file.digest:
                    raise ValueError(f"{name} is damaged")
        except (OSError, ValueError):
            self._known_trees.pop(path, None)
            shutil.rmtree(path, ignore_errors=True)
            return False
        return True

    def adopt_tree(self, digest: Digest, directory: Path, root: trees.Directory) -> None:
        """
        Take an unpacked directory as the tree of a manifest.

        NB: its listing first, so that a tree is never without one.
        """
        path = self.tree(digest)
        listing = directory.with_name("listing")
        listing.write_bytes(trees.dump(root))
        listing.chmod(0o444)
        listing.replace(path.with_suffix(".json"))
        try:
            directory.replace(path)
        except OSError:
            if not path.is_dir():  # else another process was first: the same tree
                raise
        self._known_trees[path] = root

    def known_tree(self, path: Path) -> trees.Directory:
        """
        Return the listing of a tree; quick once it has been asked for.

        Raises:
            OSError: there is no such tree.
            ValueError: its listing is damaged.
        """
        if path not in self._known_trees:
            self._known_trees[path] = trees.load(path.with_suffix(".json").read_bytes())
        return self._known_trees[path]

    @contextlib.contextmanager
    def partial(self) -> Iterator[Path]:
        """Give a directory to make things in; it is gone afterwards."""
        with contextlib.ExitStack() as stack:
            while True:
                made = Path(tempfile.mkdtemp(dir=self._partial))
                stack.callback(shutil.rmtree, made, ignore_errors=True)
                with contextlib.suppress(OSError):  # another process cleared it: once more
                    stack.enter_context(_locked(made))
                    break
            yield made

    def _reference(self, reference: str) -> Path:
        return self._references / f"{hashlib.sha256(reference.encode()).hexdigest()}.json"


class Incoming:
    """
    A blob on its way in: checked while it is written, never too long.

    Nothing is left unless `commit` was called. Making one touches no disk.
    """

    def __init__(self, store: Store, digest: Digest, size_bytes: int) -> None:
        self._store = store
        self._digest = digest
        self._size_bytes = size_bytes
        self._stack = contextlib.ExitStack()
        self._hasher = hashlib.sha256()
        self._received = 0
        self._path = Path()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, chunk: bytes) -> None:
        """
        Add bytes.

        Raises:
            MismatchError: more than were announced.
        """
        self._received += len(chunk)
        if self._received > self._size_bytes:
            raise MismatchError(f"more than the {self._size_bytes} bytes announced")
        self._hasher.update(chunk)
        self._opened().write(chunk)

    def commit(self) -> None:
        """
        Check the whole and move it to its place.

        Raises:
            MismatchError: too short, or another digest.
        """
        if self._received != self._size_bytes:
            raise MismatchError(f"{self._received} bytes of the {self._size_bytes} announced")
        actual = f"sha256:{self._hasher.hexdigest()}"
        if actual != self._digest:
            raise MismatchError(f"bytes with the digest {actual} for {self._digest}")
        self._opened().flush()
        self._store.adopt(self._digest, self._path)

    def close(self) -> None:
        """Drop what was not committed."""
        self._stack.close()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._path = self._stack.enter_context(self._store.partial()) / "blob"
            self._file = self._stack.enter_context(self._path.open("xb"))
        return self._file


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a directory, as its maker does while it lives; OSError: held."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def digest_of(content: bytes) -> Digest:
    """Return the digest of a document."""
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _taken(found: os.stat_result) -> int:
    return found.st_blocks * _BLOCK_BYTES


def _hex(digest: Digest) -> str:
    return digest.removeprefix("sha256:")
