"""
What must survive the agent and only it knows: `pods/UID/pod.json`.

Start time, image ids and back-off of a pod. Attempts and endings are not here:
they are the runtime's facts, and stand in its own records.
"""

from pathlib import Path

import msgspec

from wasm_node.agent import statedir
from wasm_node.agent.model import ids, observed


class _Container(msgspec.Struct, frozen=True):
    image_id: str
    backoff_s: float


class _Pod(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    started_at: float
    containers: dict[str, _Container]


_DECODER = msgspec.json.Decoder(_Pod)


class Checkpoints:
    """Reads and writes checkpoints below `pods/`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, uid: ids.PodUid) -> Path:
        return self._directory / uid / "pod.json"

    def save(self, ref: ids.PodRef, pod: observed.ObservedPod) -> None:
        """Write what would be lost; by rename, small, off no thread."""
        kept = {
            name: _Container(each.image_id, each.backoff_s) for name, each in pod.containers.items()
        }
        path = self._path(ref.uid)
        path.parent.mkdir(exist_ok=True)
        made = _Pod(ref.namespace, ref.name, pod.started_at, kept)
        statedir.write(path, msgspec.json.encode(made))

    def reference(self, uid: ids.PodUid) -> ids.PodRef:
        """Return whose directory this is; without a checkpoint only the uid."""
        kept = self._read(uid)
        return ids.PodRef(kept.namespace, kept.name, uid) if kept else ids.PodRef("", uid, uid)

    def load(self, uid: ids.PodUid) -> observed.ObservedPod | None:
        """Return what was kept; None: nothing, or nothing readable."""
        kept = self._read(uid)
        if kept is None:
            return None
        containers = {
            name: observed.ObservedContainer(image_id=each.image_id, backoff_s=each.backoff_s)
            for name, each in kept.containers.items()
        }
        return observed.ObservedPod(started_at=kept.started_at, containers=containers)

    def _read(self, uid: ids.PodUid) -> _Pod | None:
        try:
            return _DECODER.decode(self._path(uid).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
