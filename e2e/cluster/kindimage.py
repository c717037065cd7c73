"""
The node image of kind: the official one, or else one built here.

It is official where this machine has a docker daemon of its own that can pull
it: that is where its user would run kind. Elsewhere `kindbuild` has another.
"""

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries, cache, kindbuild, processes


@dataclass(frozen=True)
class NodeImage:
    """
    A node image, wherever it comes from.

    Attributes:
        archive: as `docker save` writes it.
        name: what `docker load` calls it.
    """

    archive: Path
    name: str


def get() -> NodeImage:
    """
    Give the official node image where it can be pulled, else one built here.

    Raises:
        Failed: it cannot be built; the text has the builder's last words.
    """
    return _pulled() or NodeImage(kindbuild.build(), kindbuild.NAME)


@functools.cache
def _pulled() -> NodeImage | None:
    """Give kind's default image; None where no docker daemon can pull it."""
    text = (binaries.kind_sources() / "pkg/apis/config/defaults/image.go").read_text()
    (reference,) = re.findall(r'const Image = "(.*)"', text)
    name, _, digest = reference.partition("@sha256:")
    if not shutil.which("docker"):
        return None

    def save(folder: Path) -> None:
        processes.printed_by(["docker", "version"], {})  # there is a daemon
        print(f"pulling {name}: a gigabyte", file=sys.stderr)
        processes.printed_by(["docker", "pull", "--quiet", reference], {})
        processes.printed_by(["docker", "tag", reference, name], {})
        processes.printed_by(["docker", "save", f"--output={folder}/node.tar", name], {})

    try:
        folder = cache.entry(f"kind/official-{digest[:16]}", save)
    except subprocess.CalledProcessError:
        return None
    return NodeImage(folder / "node.tar", name)
