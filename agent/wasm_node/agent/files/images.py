"""
Images that are plain files: what `wasm-node run ./app.wasm` runs.

A reference that begins with `file:` names a .wasm or .wat on this host (in a
manifest: relative to the manifest); anything else goes to the puller behind.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from wasm_node.agent import errors, interfaces
from wasm_node.agent.files import manifests
from wasm_node.agent.model import ids, image


class FilePuller:
    """Puller of files, in front of another one."""

    def __init__(self, behind: interfaces.Puller) -> None:
        self._behind = behind

    async def pull(
        self, reference: str, *, progress: Callable[[int, int | None], None] | None = None
    ) -> image.Image:
        """Have the image fetched; a file is here already."""
        return await self.local(reference) or await self._behind.pull(reference, progress=progress)

    async def local(self, reference: str) -> image.Image | None:
        """Read and digest the file, anew each time, or ask the other puller."""
        if not reference.startswith(manifests.FILE_SCHEME):
            return await self._behind.local(reference)
        path = Path(reference.removeprefix(manifests.FILE_SCHEME))
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise errors.BadInput(
                f"cannot read {path}: {error.strerror}", reason="ErrImagePull"
            ) from error
        digest = ids.Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")
        return image.Image(
            reference=reference,
            image_id=f"{path.name}@{digest}",
            layout="a file",
            size_bytes=len(content),
            module=path,
            module_digest=digest,
            tree=None,
        )

    def program(
        self, found: image.Image, command: Sequence[str], args: Sequence[str]
    ) -> image.Program:
        """Find what to run, as the puller behind does."""
        return self._behind.program(found, command, args)
