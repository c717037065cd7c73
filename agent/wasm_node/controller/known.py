"""What the cluster knows: values that both the rules and the upkeep need."""

import dataclasses
from collections.abc import Mapping

from wasm_node.controller import requests


@dataclasses.dataclass(frozen=True)
class AgentPod:
    """A pod of our agents that has not ended, as the API server has it."""

    name: str
    uid: str
    host: str
    ips: frozenset[requests.IPAddress]


@dataclasses.dataclass(frozen=True)
class Node:
    """
    A Node.

    Attributes:
        is_wasm: it says that it is a wasm node.
        joined_by: the release that has marked it as its own; empty: none.
        host: the host that this release saw it on; empty: none.
    """

    name: str
    uid: str
    is_wasm: bool
    joined_by: str
    host: str
    labels: Mapping[str, str]
