"""
How much of the disk a pod may use: by volume, by container, and in all.

What is over is evicted (plan.evictions). As the kubelet counts: sizes of
emptyDir volumes; limits of ephemeral-storage; in all, PodLimits of
component-helpers (KEP-753), which adds up those that are set.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Self

from wasm_node.agent.model import manifest, quantity

_NAME = "ephemeral-storage"


@dataclasses.dataclass(frozen=True)
class Limit:
    """So many bytes; its text is how that is written."""

    size_bytes: int
    text: str

    @classmethod
    def parse(cls, written: str | int | float, of: str) -> Self:
        """
        Read one.

        Raises:
            ValueError: it is no size; the text begins with `of`.
        """
        try:
            size_bytes = quantity.ceiling(written)
        except ValueError as error:
            raise ValueError(f"{of}: {error}") from error
        if size_bytes < 0:
            raise ValueError(f"{of}: {written} is less than nothing")
        return cls(size_bytes, str(written))

    def __add__(self, other: "Limit") -> "Limit":
        """Return both together, in suffixes of the first (Quantity.Add)."""
        total = self.size_bytes + other.size_bytes
        shape = self if self.size_bytes else other
        write = quantity.binary if shape.text.endswith("i") else quantity.plain
        return Limit(total, write(total))

    def __str__(self) -> str:
        """Return it as written."""
        return self.text


@dataclasses.dataclass(frozen=True)
class Limits:
    """
    All of one pod; what has none is absent.

    Attributes:
        volumes: by name; 0 is none.
        containers: by name, sidecars among them; 0 is none.
        pod: of its volumes, and what its containers have beside them; 0 is 0.
    """

    volumes: Mapping[str, Limit] = dataclasses.field(default_factory=dict)
    containers: Mapping[str, Limit] = dataclasses.field(default_factory=dict)
    pod: Limit | None = None


NONE = Limits()


def of(spec: manifest.PodSpec) -> Limits:
    """
    Return a pod's.

    Raises:
        ValueError: one is no size; says which.
    """
    sizes = {
        each.name: Limit.parse(each.empty_dir.size_limit, f"volume {each.name}: sizeLimit")
        for each in spec.volumes
        if each.empty_dir is not None and each.empty_dir.size_limit is not None
    }
    sidecars = (each for each in spec.init_containers if each.restart_policy == "Always")
    lasting = (*spec.containers, *sidecars)
    return Limits(
        sizes,
        {each.name: limit for each in lasting if (limit := _container(each))},
        _pod(spec),
    )


def _container(read: manifest.Container) -> Limit | None:
    written = read.resources.limits.get(_NAME)
    if written is None:
        return None
    return Limit.parse(written, f"container {read.name}: resources.limits.{_NAME}")


def _pod(spec: manifest.PodSpec) -> Limit | None:
    """Of init containers that largest counts, with the sidecars before it."""
    total = _sum(_container(each) for each in spec.containers)
    beside = most = None
    for each in spec.init_containers:
        asked = _sum((beside, _container(each)))
        most = asked if most is None or (asked and asked.size_bytes > most.size_bytes) else most
        if each.restart_policy == "Always":
            beside = asked
            total = _sum((total, _container(each)))
    if most and (total is None or most.size_bytes > total.size_bytes):
        total = most
    overhead = spec.overhead.get(_NAME)
    if total is None or not total.size_bytes or overhead is None:
        return total
    return total + Limit.parse(overhead, f"overhead.{_NAME}")


def _sum(limits: Iterable[Limit | None]) -> Limit | None:
    """Return all that are there together; None: there is none."""
    total = None
    for each in limits:
        if each is not None:
            total = each if total is None else total + each
    return total
