"""
Blobs, references and trees on disk: nothing in it is ever half there.

`images/blobs/sha256/HEX` holds read-only blobs, `images/refs/` which digest a
reference named last, `images/trees/sha256/HEX` the unpacked tar images with a
`HEX.json` beside each. All is made in `images/partial/` and moved by rename. A
blob's size is checked at every use and its digest at the first use by this
process, so what decayed on disk is fetched again and not run. Blocking.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import trees
from wasm_node.agent.oci.documents import UnusableError


class MismatchError(Exception):
    """Bytes are not those that were announced; the text says how."""


class Store:
    """One images directory; any number of processes may share it."""

    def __init__(self, images: Path) -> None:
        self._blobs = images / "blobs" / "sha256"
        self._references = images / "refs"
        self._trees = images / "trees" / "sha256"
        self._partial = images / "partial"
        self._sound: set[Digest] = set()
        self._known_trees: dict[Path, trees.Directory] = {}

    def make(self) -> None:
        """Make the directories and clear what a killed process left behind."""
        for each in (self._blobs, self._references, self._trees, self._partial):
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
        digest = Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")
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
        """Note what a reference names now."""
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


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


def _hex(digest: Digest) -> str:
    return digest.removeprefix("sha256:")
