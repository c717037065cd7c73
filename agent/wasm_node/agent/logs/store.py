"""
Where logs lie: `NS_NAME_UID/CONTAINER/ATTEMPT.log` below one directory.

The agent makes the directories, the runtime the files, and they may be two
users. So each directory has the set-group-id bit: files that root makes in it
belong to the agent's group, which is all that the agent needs to read them;
it owns the directories, which is all that it needs to delete them. Pods' own
users can do neither. For log collectors there are links named as the kubelet
names its own, in a directory of their own.
"""

import contextlib
import hashlib
import shutil
from pathlib import Path

from wasm_node.agent.model import ids
from wasm_node.protocol import messages

_DIRECTORY_MODE = 0o2750
_NAME_MAX_BYTES = 255
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are


class CriLogStore:
    """
    Implements `interfaces.LogStore` on a real directory.

    Attributes:
        root: the directory of all pods' logs; made by whoever installs.
    """

    def __init__(self, root: Path, *, links: Path | None = None) -> None:
        self.root = root
        self._links = links

    def path(self, pod: ids.PodRef, container: str, attempt: int) -> Path:
        """Return where this attempt's log goes, its directory made."""
        log = self.locate(pod, container, attempt)
        for directory in (log.parent.parent, log.parent):
            with contextlib.suppress(FileExistsError):
                directory.mkdir()
                directory.chmod(_DIRECTORY_MODE)  # mkdir's mode would pass through the umask
        if self._links is not None:
            with contextlib.suppress(FileExistsError):
                (self._links / _link_name(pod, container, attempt)).symlink_to(log)
        return log

    def locate(self, pod: ids.PodRef, container: str, attempt: int) -> Path:
        """Return where this attempt's log would be; touches nothing."""
        return self.root / directory_name(pod) / container / f"{attempt}.log"

    def prune(self, pod: ids.PodRef, container: str, oldest: int) -> None:
        """Delete the logs of the container's attempts before `oldest`."""
        directory = self.root / directory_name(pod) / container
        for log in list(directory.glob("*.log")):
            if log.stem.isdecimal() and int(log.stem) < oldest:
                log.unlink(missing_ok=True)
                if self._links is not None:
                    link = self._links / _link_name(pod, container, int(log.stem))
                    link.unlink(missing_ok=True)

    def remove(self, pod: ids.PodRef) -> None:
        """Delete all logs of a pod; none there is fine."""
        directory = self.root / directory_name(pod)
        if self._links is not None:
            for link in self._links.glob("*.log"):
                if link.is_symlink() and link.readlink().is_relative_to(directory):
                    link.unlink()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory)

    def used(self, pod: ids.PodRef) -> dict[str, messages.DiskUse]:
        """Return what a pod's logs take of the disk, by container."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for directory in (self.root / directory_name(pod)).iterdir():
                sizes = [each.lstat().st_blocks for each in (directory, *directory.iterdir())]
                used_bytes = sum(sizes) * _BLOCK_BYTES
                found[directory.name] = messages.DiskUse(used_bytes, len(sizes))
        return found


def directory_name(pod: ids.PodRef) -> str:
    """
    Return `NS_NAME_UID`, as the kubelet does below /var/log/pods.

    A name too long for a file system is cut; the uid keeps it unique.
    """
    room = _NAME_MAX_BYTES - len(f"{pod.namespace}__{pod.uid}")
    return f"{pod.namespace}_{pod.name[:room]}_{pod.uid}"


def _link_name(pod: ids.PodRef, container: str, attempt: int) -> str:
    """Return `NAME_NS_CONTAINER-ID.log`; collectors expect 64 hex digits."""
    identity = hashlib.sha256(f"{pod.uid}/{container}/{attempt}".encode()).hexdigest()
    tail = f"_{pod.namespace}_{container}-{identity}.log"
    return pod.name[: _NAME_MAX_BYTES - len(tail)] + tail
