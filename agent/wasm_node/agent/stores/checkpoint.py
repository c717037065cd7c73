"""
What must survive the agent and only it knows: `pods/UID/pod.json`.

Start time, images and back-off of a pod, whose postStart hook is not done, and
that it was evicted. Attempts and endings are not here: they are the runtime's
facts, and stand in its own records.

Several loops write to it, each what it alone decides. What they have seen of
a pod was true at different moments; so none writes a whole pod: it says what to
change of what is kept, and here, one after the other, that is done.
"""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from wasm_node.agent import errors, statedir
from wasm_node.agent.model import ids, observed


class _Container(msgspec.Struct, frozen=True):
    backoff_s: float
    made_of: dict[int, observed.Made] = {}
    replaced: int | None = None
    resets: tuple[int, ...] = ()
    settling: int | None = None
    unsettled: bool = False

    @classmethod
    def of(cls, seen: observed.ObservedContainer) -> Self:
        """Return what is kept of a container."""
        return cls(
            backoff_s=seen.backoff_s,
            made_of=dict(seen.made_of),
            replaced=seen.replaced,
            resets=seen.resets,
            settling=seen.settling,
            unsettled=seen.unsettled,
        )

    def observed(self) -> observed.ObservedContainer:
        """Return the container as far as it was kept."""
        return observed.ObservedContainer(
            backoff_s=self.backoff_s,
            made_of=self.made_of,
            replaced=self.replaced,
            resets=self.resets,
            settling=self.settling,
            unsettled=self.unsettled,
        )


class _Pod(msgspec.Struct, frozen=True):
    namespace: str
    name: str
    started_at: float
    containers: dict[str, _Container]
    evicted: observed.Evicted | None = None


_DECODER = msgspec.json.Decoder(_Pod)


class Checkpoints:
    """Reads and writes checkpoints below `pods/`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writing = threading.Lock()

    def _path(self, uid: ids.PodUid) -> Path:
        return self._directory / uid / "pod.json"

    def change(
        self,
        ref: ids.PodRef,
        known: observed.ObservedPod,
        change: Callable[[observed.ObservedPod], observed.ObservedPod],
    ) -> None:
        """
        Change what is kept of a pod, and nothing else of it; blocks.

        `known` is what `change` is given where nothing has been kept so far.
        """
        with self._writing:
            self._save(ref, change(self.load(ref.uid) or known))

    def _save(self, ref: ids.PodRef, pod: observed.ObservedPod) -> None:
        # By rename: who is killed meanwhile leaves the old one.
        kept = {name: _Container.of(each) for name, each in pod.containers.items()}
        path = self._path(ref.uid)
        path.parent.mkdir(exist_ok=True)
        made = _Pod(ref.namespace, ref.name, pod.started_at, kept, pod.evicted)
        statedir.write(path, msgspec.json.encode(made))

    def uids(self) -> list[ids.PodUid]:
        """List the pods of which something is left."""
        found = []
        for each in self._directory.iterdir():
            with contextlib.suppress(errors.BadInput):
                found.append(ids.pod_uid(each.name))
        return found

    def reference(self, uid: ids.PodUid) -> ids.PodRef:
        """Return whose directory this is; without a checkpoint only the uid."""
        kept = self._read(uid)
        return ids.PodRef(kept.namespace, kept.name, uid) if kept else ids.PodRef("", uid, uid)

    def load(self, uid: ids.PodUid) -> observed.ObservedPod | None:
        """Return what was kept; None: nothing, or nothing readable."""
        kept = self._read(uid)
        if kept is None:
            return None
        containers = {name: each.observed() for name, each in kept.containers.items()}
        return observed.ObservedPod(kept.started_at, containers, evicted=kept.evicted)

    def _read(self, uid: ids.PodUid) -> _Pod | None:
        try:
            return _DECODER.decode(self._path(uid).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
