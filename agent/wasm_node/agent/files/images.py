"""
Images that are plain files: what `wasm-node run ./app.wasm` runs.

A reference that begins with `file:` names a .wasm or .wat on this host;
anything else goes to the puller behind.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import ids, image

SCHEME = "file:"


class FilePuller:
    """Puller of files, in front of another one."""

    def __init__(self, behind: interfaces.Puller) -> None:
        self._behind = behind

    async def pull(
        self, reference: str, *, progress: Callable[[int, int | None], None] | None = None
    ) -> image.Image:
        """Read and digest the file, or have the image fetched."""
        if not reference.startswith(SCHEME):
            return await self._behind.pull(reference, progress=progress)
        path = Path(reference.removeprefix(SCHEME))
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

    async def local(self, reference: str) -> image.Image | None:
        """Files are read anew each time; images are the other puller's."""
        return None if reference.startswith(SCHEME) else await self._behind.local(reference)

    def program(
        self, found: image.Image, command: Sequence[str], args: Sequence[str]
    ) -> image.Program:
        """Find what to run, as the puller behind does."""
        return self._behind.program(found, command, args)
