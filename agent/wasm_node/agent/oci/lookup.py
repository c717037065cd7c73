"""
What a command means in a container that runs: which program, or which export.

Only the disk is asked: an attempt's spec says which module it runs and which
tree it sees; the store has that tree's listing, and its image's PATH and
working directory. So it holds for containers that an earlier agent began, and
for `wasm-node exec` while there is none.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from wasm_node.agent import errors
from wasm_node.agent.asynckit import threads
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import documents, layouts, magic, program, store
from wasm_node.protocol import layout, records


class DiskPrograms:
    """
    Programs of the attempts below a state directory.

    Args:
        state: the state directory.
        images: see `oci.store` for what lies there.
    """

    def __init__(self, state: Path, images: Path) -> None:
        self._state = state
        self._store = store.Store(images)
        self._images: dict[Path, image.Image] = {}

    async def find(self, attempt: records.AttemptId, command: Sequence[str]) -> image.Command:
        """See `interfaces.Programs`."""
        return await threads.finish(self._find, attempt, tuple(command))

    def _find(self, attempt: records.AttemptId, command: tuple[str, ...]) -> image.Command:
        spec = self._spec(attempt)
        name, sharp, export = command[0].partition("#")
        if not command[0] or (sharp and not export):
            text = f"cannot run {command[0]!r} in container {attempt.container}: "
            text += "write PROGRAM, PROGRAM#EXPORT, or #EXPORT for its own program"
            raise errors.BadInput(text, reason="CreateContainerError")
        try:
            tree = _tree(spec)
            if tree is None or not name:
                path = Path(spec.module_path)
                own = image.Program(path, Digest(spec.module_digest), _kind(path), command)
                return image.Command(own, export)
            root = self._store.known_tree(tree)
            seen = dataclasses.replace(
                self._image(tree), reference=f"{name} in container {attempt.container}"
            )
        except (OSError, ValueError, documents.UnusableError) as error:
            text = f"cannot look {command[0]} up where its image lies on this node: {error}"
            raise errors.Retryable(text, reason="ImageInspectError") from error
        found = program.in_tree(seen, tree, root, (name,), ())
        return image.Command(dataclasses.replace(found, argv=command), export)

    def _spec(self, attempt: records.AttemptId) -> records.ContainerSpec:
        try:
            path = layout.attempt(self._state, layout.checked(attempt)) / layout.SPEC
            return records.ContainerSpec.from_json(path.read_bytes())
        except (OSError, ValueError) as error:
            text = f"cannot read what attempt {attempt} runs: {error}"
            raise errors.NotFound(text, reason="NotRunning") from error

    def _image(self, tree: Path) -> image.Image:
        """Return the image of a tree, as far as a lookup needs it."""
        if tree not in self._images:
            manifest = documents.parse(
                self._read(Digest(f"sha256:{tree.name}"), documents.MANIFEST_MOST_BYTES)
            )
            plan = None if isinstance(manifest, documents.Index) else layouts.plan(manifest)
            if not isinstance(plan, layouts.TreePlan):
                raise ValueError(f"{tree.name} is no tar image")
            config = documents.image_config(
                self._read(plan.config.digest, documents.CONFIG_MOST_BYTES)
            )
            self._images[tree] = image.Image(
                reference="",
                image_id="",
                layout=plan.layout,
                size_bytes=0,
                module=None,
                module_digest=None,
                tree=tree,
                env=config.env,
                working_dir=config.working_dir,
            )
        return self._images[tree]

    def _read(self, digest: Digest, most_bytes: int) -> bytes:
        content = self._store.read(digest, most_bytes)
        if content is None:
            raise ValueError(f"{digest} is not here any more")
        return content


def _tree(spec: records.ContainerSpec) -> Path | None:
    """Return the tree that a guest sees as `/`; None: its image is a module."""
    for each in spec.mounts:
        path = Path(each.host_path)
        if each.guest_path == "/" and path.with_suffix(".json").is_file():
            return path
    return None


def _kind(module: Path) -> image.Kind:
    with module.open("rb") as file:
        kind = magic.kind(file.read(magic.HEAD_BYTES))
    if kind is None:
        raise ValueError(f"{module} is not WebAssembly")
    return kind
