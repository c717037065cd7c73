"""Identifiers, so that one kind of string cannot pass for another."""

import dataclasses
import re
from typing import NewType

from wasm_node.agent import errors

PodUid = NewType("PodUid", str)
"""`metadata.uid` of a pod; names directories, so `pod_uid` checks it."""

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits."""

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


def pod_uid(text: str) -> PodUid:
    """
    Return the text as a uid.

    Raises:
        BadInput: it could not safely name a directory.
    """
    if _UID.fullmatch(text) is None:
        raise errors.BadInput(f"cannot use {text!r} as a pod uid", reason="InvalidPod")
    return PodUid(text)


@dataclasses.dataclass(frozen=True, order=True)
class PodRef:
    """Which pod: namespace and name for people and paths, uid for identity."""

    namespace: str
    name: str
    uid: PodUid

    def __str__(self) -> str:
        """Return `namespace/name`, as kubectl users write it."""
        return f"{self.namespace}/{self.name}"

    @property
    def whole(self) -> str:
        """`name_namespace(uid)`, as a kubelet writes it (format.Pod)."""
        return f"{self.name}_{self.namespace}({self.uid})"


@dataclasses.dataclass(frozen=True)
class NodeRef:
    """A node, by its name: all that its own events know it by."""

    name: str
