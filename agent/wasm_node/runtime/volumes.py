"""
The emptyDir volumes of pods: made for the pod's user, removed without a wait.

A volume is a directory below the pod's own and lives as long as the pod. Only
the pod's user may enter it. What guests leave there can be large: it is set
aside at once, by rename, and removed beside the loop; what is left of that
after a crash, the next supervisor removes.
"""

import contextlib
import os
import shutil
import stat
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from wasm_node.protocol import layout, messages, records

_MODE = 0o700
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are
_MOST_ENTRIES = 500_000
_WITHIN_S = 5.0


class Volumes:
    """The volumes of all pods."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._trash = state / layout.TRASH
        self._trash.mkdir(exist_ok=True)
        self._remove(self._trash.iterdir())

    def make(self, pod: str, mounts: Iterable[records.Mount], user: int | None) -> None:
        """
        Make those of the mounts that are volumes of this pod.

        Raises:
            OSError: one cannot be made.
        """
        root = layout.volumes(self._state, pod)
        for each in mounts:
            path = Path(each.host_path)
            if path.parent != root or path.is_dir():
                continue
            root.mkdir(exist_ok=True)
            path.mkdir(_MODE)
            if user is not None:
                os.chown(path, user, user)

    def forget(self, pod: str) -> None:
        """Remove all volumes of a pod, soon."""
        self._remove(self._set_aside(pod))

    def release(self, pod: str) -> None:
        """Remove all volumes of a pod, now; blocks, however long that takes."""
        for each in self._set_aside(pod):
            shutil.rmtree(each, ignore_errors=True)

    def measure(self, pod: str) -> messages.PodDisk:
        """
        Return what a pod's guests have written to the disk; blocks.

        That is its volumes and files of last words, which have no other bound:
        a limit of the process on the size of files would be one on volumes. A
        file that is in two volumes counts in both, as with a kubelet.
        """
        deadline = time.monotonic() + _WITHIN_S

        def within(*roots: Path) -> messages.DiskUse:
            return measure(*roots, within_s=deadline - time.monotonic())

        words: dict[str, list[Path]] = {}
        for each in layout.messages(self._state, pod):
            words.setdefault(layout.container_of(each), []).append(each)
        volumes = _listed(layout.volumes(self._state, pod))
        return messages.PodDisk(
            {each.name: within(each) for each in volumes},
            {container: within(*paths) for container, paths in words.items()},
        )

    def _set_aside(self, pod: str) -> list[Path]:
        aside = self._trash / str(uuid.uuid4())
        try:
            layout.volumes(self._state, pod).rename(aside)
        except FileNotFoundError:
            return []
        return [aside]

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in list(paths):
            threading.Thread(target=shutil.rmtree, args=(path,), daemon=True).start()


def _listed(directory: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(directory.iterdir())
    return []


def measure(
    *roots: Path, most_entries: int = _MOST_ENTRIES, within_s: float = _WITHIN_S
) -> messages.DiskUse:
    """
    Return what directories take of the disk, without what they link to.

    They count themselves: the more names one has ever had, the larger it is.

    Bounded: guests may have made more files than anybody has time to look at.
    """
    deadline = time.monotonic() + within_s
    used = inodes = 0
    linked: set[tuple[int, int]] = set()
    for found in _walk(roots):
        if inodes >= most_entries or time.monotonic() > deadline:
            return messages.DiskUse(used, inodes, whole=False)
        key = (found.st_dev, found.st_ino)
        if key in linked:
            continue
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            linked.add(key)
        used += found.st_blocks * _BLOCK_BYTES
        inodes += 1
    return messages.DiskUse(used, inodes)


def _walk(roots: Iterable[Path]) -> Iterator[os.stat_result]:
    """Yield them and all below; what goes meanwhile is passed over."""
    left = [str(each) for each in roots]
    for root in left:
        with contextlib.suppress(FileNotFoundError):
            yield os.lstat(root)
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        left.append(entry.path)
                    yield found
