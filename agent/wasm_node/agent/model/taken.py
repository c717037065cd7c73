"""What pods have of a node together, as far as it matters to one that comes."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from wasm_node.agent.model import desired, ids, manifest, requests

PortKey: TypeAlias = tuple[str, int]
"""Protocol and number of a port of the host."""


@dataclasses.dataclass(frozen=True)
class Held:
    """A port of the host, and whose it is."""

    port: manifest.Port
    by: ids.PodRef


@dataclasses.dataclass(frozen=True)
class Taken:
    """
    What is not there any more for a pod that comes.

    Attributes:
        pods: how many others there are.
        asks: what they ask for, all together.
        ports: those of theirs that have protocol and number of one it wants.
    """

    pods: int
    asks: requests.Requests
    ports: Sequence[Held]


def key(port: manifest.Port) -> PortKey:
    """Return what two ports have in common, if they may be in conflict."""
    return port.protocol, port.host_port


def held(pod: desired.DesiredPod) -> Iterator[Held]:
    """Iterate over what a pod has of the host's ports."""
    return (Held(each, pod.ref) for each in pod.host_ports())
