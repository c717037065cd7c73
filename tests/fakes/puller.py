"""A Puller without a registry or a disk."""

from collections.abc import Callable, Mapping, Sequence

from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.oci import reference


class FakePuller:
    """
    Puller of artifacts that it was given.

    Attributes:
        images: what the registry has, by reference; tests may change it.
        pulls: references in the order in which they were pulled.
    """

    def __init__(self, images: Mapping[str, image.Image]) -> None:
        self.images = dict(images)
        self.pulls: list[str] = []
        self._here: dict[str, image.Image] = {}

    async def pull(
        self, reference_text: str, *, progress: Callable[[int, int | None], None] | None = None
    ) -> image.Image:
        """Return what there is now; progress is told once, at the end."""
        self.pulls.append(reference_text)
        reference.parse(reference_text)
        if reference_text not in self.images:
            raise errors.NotFound(
                f"cannot pull {reference_text}: there is none", reason="ErrImagePull"
            )
        found = self.images[reference_text]
        if progress is not None:
            progress(found.size_bytes, found.size_bytes)
        self._here[reference_text] = found
        return found

    async def local(self, reference_text: str) -> image.Image | None:
        """Return what was pulled last."""
        reference.parse(reference_text)
        return self._here.get(reference_text)

    def program(
        self, found: image.Image, command: Sequence[str], args: Sequence[str]
    ) -> image.Program:
        """Return the module as a program, argv as given."""
        if found.module is None or found.module_digest is None:
            raise errors.BadInput(
                f"cannot run {found.reference}: it has no module", reason="CreateContainerError"
            )
        words = tuple(command) or ("main.wasm",)
        return image.Program(found.module, found.module_digest, image.Kind.MODULE, (*words, *args))
