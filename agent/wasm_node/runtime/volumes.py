"""
The emptyDir volumes of pods: made for the pod's user, removed without a wait.

A volume is a directory below the pod's own and lives as long as the pod. Only
the pod's user may enter it. What guests leave there can be large: it is set
aside at once, by rename, and removed beside the loop; what is left of that
after a crash, the next supervisor removes.
"""

import os
import shutil
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

from wasm_node.protocol import layout, records

_MODE = 0o700


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
        root = layout.volumes(self._state, pod)
        if root.exists():
            aside = self._trash / str(uuid.uuid4())
            root.rename(aside)
            self._remove([aside])

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in list(paths):
            threading.Thread(target=shutil.rmtree, args=(path,), daemon=True).start()
