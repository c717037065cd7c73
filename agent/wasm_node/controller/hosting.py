"""
What a wasm node has of its host: its zone, its region, and its end.

A Node says nothing of the host that its agent runs on which others could
rely on, so the controller writes that beside it, once it has seen the agent's
pod: which release it belongs to, and which host. Only such a Node is ever
removed, and only when its host is gone; a machine that joined by itself has
no such mark. Pure; `upkeep` reads and writes.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from wasm_node.controller import known, settings

ARCHITECTURE_LABEL = "kubernetes.io/arch"
ARCHITECTURE = "wasm32-wasi"
JOINED_BY = "wasm-node.dev/joined-by"
HOST = "wasm-node.dev/host"
_TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


@dataclasses.dataclass(frozen=True)
class Change:
    """Labels and annotations to write on the Node."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def host_of(
    node: known.Node, policy: settings.Settings, pods: Iterable[known.AgentPod]
) -> str | None:
    """Name the host of a node of ours; None: not ours, or nobody knows."""
    if node.joined_by == policy.release:
        return node.host or None
    if node.joined_by:
        return None
    hosts = (each.host for each in pods)
    return next((each for each in hosts if policy.template.node(each) == node.name), None)


def change(node: known.Node, host: known.Node, release: str) -> Change | None:
    """Return what has to be written on the Node; None: all is right."""
    wanted = {key: host.labels[key] for key in _TOPOLOGY if key in host.labels}
    labels = {key: value for key, value in wanted.items() if node.labels.get(key) != value}
    marked = (node.joined_by, node.host) == (release, host.name)
    if marked and not labels:
        return None
    return Change(labels, {} if marked else {JOINED_BY: release, HOST: host.name})
