"""What a pod asks of a node: PodRequests of component-helpers."""

import dataclasses
from collections.abc import Mapping
from typing import Self

from wasm_node.agent.model import manifest, quantity


@dataclasses.dataclass(frozen=True)
class Requests:
    """Processor time in thousandths of a core, and memory."""

    cpu_millis: int = 0
    memory_bytes: int = 0

    @classmethod
    def parse(cls, written: Mapping[str, str | int | float]) -> Self:
        """Read the two of them; raises ValueError as `quantity` does."""
        cpu, memory = written.get("cpu"), written.get("memory")
        return cls(
            0 if cpu is None else quantity.millis(cpu),
            0 if memory is None else quantity.ceiling(memory),
        )

    def __add__(self, other: "Requests") -> "Requests":
        """Return both together."""
        cpu = self.cpu_millis + other.cpu_millis
        return Requests(cpu, self.memory_bytes + other.memory_bytes)

    def __or__(self, other: "Requests") -> "Requests":
        """Return the larger, of each resource."""
        cpu = max(self.cpu_millis, other.cpu_millis)
        return Requests(cpu, max(self.memory_bytes, other.memory_bytes))


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
