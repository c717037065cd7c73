"""
The test bed: a real control plane and a real registry on loopback.

One library for the end-to-end tests, `make cluster-up` and the benchmark:

    with Guard.start() as guard:
        plane = ControlPlane.start(guard, directory / "plane")
        registry = Registry.start(guard, directory / "registry")

Whatever ends this process ends all of it. docs/architecture.md has its place.
"""

from e2e.cluster.access import Access
from e2e.cluster.controlplane import ControlPlane, NodeCredentials
from e2e.cluster.kwok import Kwok
from e2e.cluster.node import WasmNode
from e2e.cluster.processes import Failed, Guard, Process, wait_until
from e2e.cluster.registry import Registry

__all__ = [
    "Access",
    "ControlPlane",
    "Failed",
    "Guard",
    "Kwok",
    "NodeCredentials",
    "Process",
    "Registry",
    "WasmNode",
    "wait_until",
]
