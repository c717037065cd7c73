"""
The Puller over real registries: what the rest of the agent sees of this room.

A pull resolves the reference, walks index, manifest and layers, and fetches
what is not in the store yet; `local` walks the same way without a network. One
transfer per blob and one walk per reference at a time, however many pods ask.
"""

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeAlias

from wasm_node.agent import errors
from wasm_node.agent.asynckit import singleflight, threads
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import (
    collecting,
    documents,
    holds,
    layouts,
    magic,
    program,
    reference,
    store,
    timeouts,
    transfers,
    unpacking,
)
from wasm_node.agent.oci.documents import Descriptor, UnusableError

_TIMEOUTS = timeouts.Timeouts()
Progress: TypeAlias = Callable[[int, int | None], None]


class _AbsentError(Exception):
    """Something is not in the store, and must not be fetched now."""


@dataclasses.dataclass(frozen=True)
class _Walk:
    """From a reference to its image: may it use the network, who is told."""

    at: reference.Reference
    hold: holds.Hold
    may_fetch: bool
    heard: Progress


class RegistryPuller:
    """
    Puller over registries, images kept below one directory; a context.

    Args:
        images_dir: see `oci.store` for what lies there.
        insecure_registries: `host:port` spoken to by plain HTTP; registries on
            loopback always are.
        parallel: how many blobs are fetched at a time.
        patience: how long a registry may take.
        layer_most_bytes: an image with a larger layer is refused.
    """

    def __init__(
        self,
        images_dir: Path,
        *,
        insecure_registries: Sequence[str] = (),
        parallel: int = 4,
        patience: timeouts.Timeouts = _TIMEOUTS,
        layer_most_bytes: int = 2 << 30,
    ) -> None:
        self._store = store.Store(images_dir)
        self._holds = holds.Holds()
        self.images = collecting.StoredImages(self._store, self._holds)
        """What lies there; none of it goes while a pull wants it."""
        self._transfers = transfers.Transfers(
            self._store, frozenset(insecure_registries), patience, parallel=parallel
        )
        self._layer_most_bytes = layer_most_bytes
        self._pulls: singleflight.SingleFlight[str, image.Image] = singleflight.SingleFlight()
        self._looks: singleflight.SingleFlight[str, image.Image | None] = (
            singleflight.SingleFlight()
        )
        self._unpackings: singleflight.SingleFlight[Digest, None] = singleflight.SingleFlight()
        self._listeners: dict[str, list[Progress]] = {}
        self._kinds: dict[Digest, image.Kind] = {}

    async def __aenter__(self) -> Self:
        await threads.finish(self._store.make)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transfers.close()

    async def pull(self, reference_text: str, *, progress: Progress | None = None) -> image.Image:
        """See `interfaces.Puller`."""
        at = reference.parse(reference_text)
        listeners = self._listeners.setdefault(str(at), [])
        if progress is not None:
            listeners.append(progress)
        try:
            found = await self._pulls.do(str(at), functools.partial(self._pull, at))
        finally:
            if progress is not None:
                listeners.remove(progress)
            if not listeners:
                self._listeners.pop(str(at), None)
        return dataclasses.replace(found, reference=reference_text)

    async def local(self, reference_text: str) -> image.Image | None:
        """See `interfaces.Puller`."""
        at = reference.parse(reference_text)
        found = await self._looks.do(str(at), functools.partial(self._look, at))
        return found and dataclasses.replace(found, reference=reference_text)

    def program(
        self, found: image.Image, command: Sequence[str], args: Sequence[str]
    ) -> image.Program:
        """See `interfaces.Puller`; reads nothing that this process has seen."""
        try:
            if found.tree is None:
                return program.of_module(found, self._kind(found), command, args)
            root = self._store.known_tree(found.tree)
        except (OSError, ValueError) as error:
            raise errors.Retryable(
                f"cannot read {found.reference} where it lies on this node: {error}",
                reason="ImageInspectError",
            ) from error
        return program.in_tree(found, found.tree, root, command, args)

    def _kind(self, found: image.Image) -> image.Kind:
        if found.module is None or found.module_digest is None:
            raise ValueError("it has neither a module nor a tree")
        if found.module_digest not in self._kinds:
            self._kinds[found.module_digest] = _sniffed(found.reference, found.module)
        return self._kinds[found.module_digest]

    async def _look(self, at: reference.Reference) -> image.Image | None:
        try:
            with self._holds.hold() as hold:
                await hold.take(str(at))
                root = at.digest or await threads.finish(self._store.pointed, str(at))
                if root is None:
                    return None
                found = await self._image(_Walk(at, hold, may_fetch=False, heard=_deaf), root)
                await threads.finish(self._store.use, root)
                return found
        except (_AbsentError, errors.BadInput, OSError):
            return None

    async def _pull(self, at: reference.Reference) -> image.Image:
        def tell(done: int, total: int | None) -> None:
            for each in self._listeners.get(str(at), ()):
                each(done, total)

        try:
            with self._holds.hold() as hold:
                await hold.take(str(at))
                root = await self._resolved(at, hold)
                found = await self._image(_Walk(at, hold, may_fetch=True, heard=tell), root)
                await threads.finish(self._store.point, str(at), root)
        except OSError as error:
            raise errors.Retryable(
                f"cannot pull {at.text}: it cannot be kept on disk: {error.strerror or error}",
                reason="ErrImagePull",
            ) from error
        except _AbsentError as error:
            raise errors.Retryable(
                f"cannot pull {at.text}: a part of it was removed from this node meanwhile",
                reason="ErrImagePull",
            ) from error
        return found

    async def _resolved(self, at: reference.Reference, hold: holds.Hold) -> Digest:
        """Store what the reference names now and return its digest."""
        if at.digest is not None:
            await hold.take(at.digest)
            if await threads.finish(self._store.has, at.digest):
                return at.digest
        content = await self._transfers.document(at, at.wanted)
        await hold.take(store.digest_of(content))
        digest = await threads.finish(self._store.put, content)
        if at.digest is not None and digest != at.digest:
            raise _wrong_document(at, at.digest, digest)
        return digest

    async def _image(self, walk: _Walk, root: Digest) -> image.Image:
        """Walk from an index or manifest to an image whose parts are here."""
        try:
            digest, document = root, await self._document(walk, root)
            if isinstance(document, documents.Index):
                digest = layouts.choose(document).digest
                document = await self._document(walk, digest)
            if isinstance(document, documents.Index):
                raise UnusableError("its index points to another index")
            plan = layouts.plan(document)
            self._check_sizes(plan)
            if isinstance(plan, layouts.ModulePlan):
                return await self._module(walk, root, plan)
            return await self._tree(walk, root, digest, plan)
        except UnusableError as error:
            raise errors.BadInput(
                f"cannot use {walk.at.text}: {error}", reason="UnsupportedImage"
            ) from error

    def _check_sizes(self, plan: layouts.Plan) -> None:
        largest = max(each.size_bytes for each in plan.layers)
        if largest > self._layer_most_bytes:
            raise UnusableError(
                f"a layer of it has {largest} bytes: {self._layer_most_bytes} are allowed"
            )

    async def _document(self, walk: _Walk, digest: Digest) -> documents.Document:
        await walk.hold.take(digest)
        content = await threads.finish(self._store.read, digest, documents.MANIFEST_MOST_BYTES)
        if content is None:
            if not walk.may_fetch:
                raise _AbsentError
            content = await self._transfers.document(walk.at, digest)
            actual = store.digest_of(content)
            if actual != digest:
                raise _wrong_document(walk.at, digest, actual)
            await threads.finish(self._store.put, content)
        return documents.parse(content)

    async def _module(self, walk: _Walk, root: Digest, plan: layouts.ModulePlan) -> image.Image:
        await self._fetch(walk, plan.layers)
        digest = plan.layer.digest
        path = self._store.blob(digest)
        if digest not in self._kinds:
            self._kinds[digest] = await threads.finish(_sniffed, walk.at.text, path)
        return image.Image(
            reference=walk.at.text,
            image_id=walk.at.image_id(root),
            layout=plan.layout,
            size_bytes=plan.layer.size_bytes,
            module=path,
            module_digest=digest,
            tree=None,
        )

    async def _tree(
        self, walk: _Walk, root: Digest, manifest: Digest, plan: layouts.TreePlan
    ) -> image.Image:
        if plan.config.size_bytes > documents.CONFIG_MOST_BYTES:
            raise UnusableError(f"its config has {plan.config.size_bytes} bytes")
        await self._fetch(dataclasses.replace(walk, heard=_deaf), (plan.config,))
        content = await threads.finish(
            self._store.read, plan.config.digest, documents.CONFIG_MOST_BYTES
        )
        if content is None:
            raise _AbsentError
        config = documents.image_config(content)
        layouts.refuse_large_stranger(config, plan.layers)
        if not await threads.finish(self._store.has_tree, manifest):
            await self._fetch(walk, plan.layers)
            await self._unpackings.do(
                manifest, functools.partial(self._unpack, manifest, plan.layers)
            )
        return image.Image(
            reference=walk.at.text,
            image_id=walk.at.image_id(root),
            layout=plan.layout,
            size_bytes=sum(each.size_bytes for each in plan.layers),
            module=None,
            module_digest=None,
            tree=self._store.tree(manifest),
            entrypoint=config.entrypoint,
            cmd=config.cmd,
            env=config.env,
            working_dir=config.working_dir,
        )

    async def _unpack(self, manifest: Digest, layers: Sequence[Descriptor]) -> None:
        interrupted = threading.Event()

        def unpack() -> None:
            with self._store.partial() as directory:
                root = unpacking.unpack(
                    [self._store.blob(each.digest) for each in layers],
                    directory / "tree",
                    bounds=unpacking.Bounds(),
                    interrupted=interrupted,
                )
                self._store.adopt_tree(manifest, directory / "tree", root)

        await threads.finish(unpack, interrupt=interrupted.set)

    async def _fetch(self, walk: _Walk, wanted: Sequence[Descriptor]) -> None:
        """Have these blobs in the store, one after the other."""
        total, before = sum(each.size_bytes for each in wanted), 0
        for each in wanted:
            await walk.hold.take(each.digest)
            if not await threads.finish(self._store.has, each.digest, each.size_bytes):
                if not walk.may_fetch:
                    raise _AbsentError
                tell = functools.partial(_tell_more, walk.heard, before, total)
                await self._transfers.blob(walk.at, each, tell)
            before += each.size_bytes
            walk.heard(before, total)


def _tell_more(heard: Progress, before: int, total: int, received: int) -> None:
    heard(before + received, total)


def _deaf(_done: int, _total: int | None) -> None:
    """Take no notice."""


def _sniffed(text: str, path: Path) -> image.Kind:
    """Return what kind of wasm a blob is."""
    with path.open("rb") as file:
        head = file.read(magic.HEAD_BYTES)
    kind = magic.kind(head)
    if kind is None:
        raise errors.BadInput(
            f"cannot use {text}: it is {magic.describe(head)}, not WebAssembly",
            reason="NotWasm",
        )
    return kind


def _wrong_document(at: reference.Reference, wanted: Digest, actual: Digest) -> errors.Retryable:
    return errors.Retryable(
        f"cannot pull {at.text}: {at.host} sent a manifest with the digest {actual} for {wanted}",
        reason="ErrImagePull",
    )
