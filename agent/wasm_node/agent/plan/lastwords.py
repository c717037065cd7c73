"""
Where a guest leaves its last words: terminationMessagePath as a spec.

WASI gives a guest directories, so that the file's directory is given to it, in
which there is the file alone. What else is at that path would be hidden; so it
is given only where nothing is. The default path is asked for by nobody: where
that cannot be given, nothing is said.
"""

import posixpath

from wasm_node.agent.model import desired

DEFAULT = "/dev/termination-log"


def path(wanted: desired.DesiredContainer) -> str:
    """Return the file's path as the guest sees it; empty: it wants none."""
    written = wanted.message_path
    return posixpath.normpath("/" + written.lstrip("/")) if written else ""


def hidden(wanted: desired.DesiredContainer, *, in_image: bool) -> str:
    """
    Say what its directory would hide; empty: nothing.

    `in_image`: the image has something in that directory.
    """
    file = path(wanted)
    directory, name = posixpath.split(file)
    if not name or "\0" in file:
        return "it is no name of a file"
    for each in wanted.mounts:
        mount = posixpath.normpath(each.path)
        if mount == directory or (mount != "/" and _is_below(directory, mount)):
            return f"the volume {each.volume} is mounted at {each.path}"
        if mount == file or _is_below(mount, file):
            return f"the volume {each.volume} is mounted there"
    if in_image and file != DEFAULT:  # whose /dev is hidden from every container
        return f"the image has files in {directory}"
    return ""


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(f"{directory.rstrip('/')}/")
