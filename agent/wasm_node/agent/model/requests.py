"""What a pod asks of a node: PodRequests of component-helpers."""

import dataclasses
from collections.abc import Mapping
from typing import Self

from wasm_node.agent.model import manifest, quantity


@dataclasses.dataclass(frozen=True)
class Requests:
    """Processor time in thousandths of a core, memory, and space on disk."""

    cpu_millis: int = 0
    memory_bytes: int = 0
    storage_bytes: int = 0

    @classmethod
    def parse(cls, written: Mapping[str, str | int | float]) -> Self:
        """Read what of them is there; raises ValueError as `quantity` does."""
        return cls(
            quantity.millis(written.get("cpu", 0)),
            quantity.ceiling(written.get("memory", 0)),
            quantity.ceiling(written.get("ephemeral-storage", 0)),
        )

    def __add__(self, other: "Requests") -> "Requests":
        """Return both together."""
        return Requests(
            self.cpu_millis + other.cpu_millis,
            self.memory_bytes + other.memory_bytes,
            self.storage_bytes + other.storage_bytes,
        )

    def __sub__(self, other: "Requests") -> "Requests":
        """Return what is left without the other, which was added before."""
        return Requests(
            self.cpu_millis - other.cpu_millis,
            self.memory_bytes - other.memory_bytes,
            self.storage_bytes - other.storage_bytes,
        )

    def __or__(self, other: "Requests") -> "Requests":
        """Return the larger, of each resource."""
        return Requests(
            max(self.cpu_millis, other.cpu_millis),
            max(self.memory_bytes, other.memory_bytes),
            max(self.storage_bytes, other.storage_bytes),
        )


NOTHING = Requests()


def of(spec: manifest.PodSpec) -> Requests:
    """
    Return what a pod asks for.

    Sidecars count beside the containers, and beside each init container that
    comes after them; of init containers the largest counts.
    """
    beside = most = NOTHING
    for each in spec.init_containers:
        asked = beside + _container(each)
        most |= asked
        if each.restart_policy == "Always":
            beside = asked
    for each in spec.containers:
        beside += _container(each)
    return (most | beside) + Requests.parse(spec.overhead)


def _container(read: manifest.Container) -> Requests:
    """As the API server defaults it: a limit is a request, too."""
    return Requests.parse({**read.resources.limits, **read.resources.requests})
