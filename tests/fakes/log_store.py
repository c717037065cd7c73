"""A LogStore that touches no disk."""

from pathlib import Path

from wasm_node.agent.model import ids
from wasm_node.protocol import messages


class FakeLogStore:
    """
    Remembers which directories would be there.

    Attributes:
        directories: made and not removed.
        oldest: by directory, the oldest attempt whose log is kept.
        removed: pods in the order of their removal.
        sizes: by pod and container, what logs take of the disk.
    """

    def __init__(self) -> None:
        self.directories: set[Path] = set()
        self.removed: list[ids.PodRef] = []
        self.oldest: dict[Path, int] = {}
        self.sizes: dict[str, dict[str, messages.DiskUse]] = {}

    def exists(self, path: Path) -> bool:
        """Say whether a directory, or a log that was written, is kept."""
        if path in self.directories:
            return True
        kept = path.parent in self.directories
        return kept and int(path.stem) >= self.oldest.get(path.parent, 0)

    def path(self, pod: ids.PodRef, container: str, attempt: int) -> Path:
        """Return where this attempt's log goes, its directory made."""
        directory = Path("/logs", pod.uid, container)
        self.directories.add(directory)
        return directory / f"{attempt}.log"

    def prune(self, pod: ids.PodRef, container: str, oldest: int) -> None:
        """Remember from which attempt on logs are kept."""
        self.oldest[Path("/logs", pod.uid, container)] = oldest

    def remove(self, pod: ids.PodRef) -> None:
        """Delete all logs of a pod."""
        self.removed.append(pod)
        self.directories = {
            each for each in self.directories if not each.is_relative_to(Path("/logs", pod.uid))
        }

    def used(self, pod: ids.PodRef) -> dict[str, messages.DiskUse]:
        """Return what was set, or a directory for each container."""
        found = (each.name for each in self.directories if each.parent.name == pod.uid)
        return {each: messages.DiskUse(4096, 1) for each in found} | self.sizes.get(pod.uid, {})
