"""
What to run of an image, by Kubernetes' rules for command and args.

`command` takes the place of ENTRYPOINT and drops CMD, `args` takes the place
of CMD. In a tar image the first word is looked up as a container runtime does,
in the image's own tree, and its bytes must be wasm. Pure: the tree is a value.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path

from wasm_node.agent import errors
from wasm_node.agent.model import image
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import documents, trees

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHOWN_MOST = 3


def of_module(
    found: image.Image, kind: image.Kind, command: Sequence[str], args: Sequence[str]
) -> image.Program:
    """
    Return the module of an artifact as a program.

    There is nothing to look up, so `command` only names the arguments from
    argv[0] on; without it argv[0] is the image's short name, `hello.wasm`.

    Raises:
        BadInput: the image is no artifact.
    """
    if found.module is None or found.module_digest is None:
        raise _cannot(found, "it has no module", "CreateContainerError")
    words = tuple(command) or (_file_name(found.image_id),)
    return image.Program(found.module, found.module_digest, kind, (*words, *args))


def in_tree(
    found: image.Image,
    at: Path,
    root: trees.Directory,
    command: Sequence[str],
    args: Sequence[str],
) -> image.Program:
    """
    Look the first word up in a tar image's tree, unpacked `at` a path.

    Raises:
        BadInput: no command, no such file, or not wasm; says what it is.
    """
    argv = _argv(found, command, args)
    if not argv or not argv[0]:
        raise _cannot(found, _why_no_command(root), "CreateContainerError")
    place = _look_up(found, root, argv[0])
    if place is None:
        raise _cannot(found, f"there is no {argv[0]!r} in it{_offer(root)}", "CreateContainerError")
    node = place.node
    name = "/" + "/".join(place.parts)
    if not isinstance(node, trees.File):
        raise _cannot(
            found,
            f"{name} is a directory{_spin(root) or _offer(root)}",
            "CreateContainerError",
        )
    if node.kind is None or node.digest is None:
        raise _cannot(
            found,
            f"{name} is {node.what}, not WebAssembly: run this pod on a Linux node, or "
            f"build the image for wasi/wasm{_offer(root)}",
            "NotWasm",
        )
    return image.Program(at.joinpath(*place.parts), Digest(node.digest), node.kind, argv)


def _file_name(image_id: str) -> str:
    """Return `hello.wasm` for `registry/team/hello@digest`."""
    name = image_id.partition("@")[0].rpartition("/")[2]
    return name if name.endswith((".wasm", ".wat")) else f"{name}.wasm"


def _argv(found: image.Image, command: Sequence[str], args: Sequence[str]) -> tuple[str, ...]:
    if command:
        return (*command, *args)
    return (*found.entrypoint, *(args or found.cmd))


def _look_up(found: image.Image, root: trees.Directory, word: str) -> trees.Found | None:
    """Find a command as execvp does, or in the directory where it starts."""
    here = posixpath.join("/", found.working_dir)
    if "/" in word:
        return trees.find(root, posixpath.join(here, word))
    path = dict(found.env).get("PATH") or _DEFAULT_PATH
    for directory in (*path.split(":"), here):
        place = trees.find(root, posixpath.join(here, directory, word))
        if place is not None and isinstance(place.node, trees.File):
            return place
    return None


def _why_no_command(root: trees.Directory) -> str:
    if "plugin.wasm" in root.children:
        return (
            "it has no command, and a plugin.wasm: layout D is a filter for Envoy "
            "(proxy-wasm), not a program"
        )
    return f"neither it (ENTRYPOINT, CMD) nor the pod (command) says what to run{_offer(root)}"


def _spin(root: trees.Directory) -> str:
    if "spin.toml" not in root.children:
        return ""
    return ", and a spin.toml says that it is a Spin application (layout K), which is not read"


def _offer(root: trees.Directory) -> str:
    names = list(trees.wasm_files(root))
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN_MOST} more" if len(names) > _SHOWN_MOST else ""
    return f"; its wasm files are {', '.join(names[:_SHOWN_MOST])}{more}"


def _cannot(found: image.Image, why: str, reason: str) -> errors.BadInput:
    said = f"cannot run {found.reference}: {documents.printable(why)}"
    return errors.BadInput(said, reason=reason)
