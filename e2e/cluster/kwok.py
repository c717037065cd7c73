"""
kwok, as the ceiling of a benchmark: a node that runs nothing.

It only writes the statuses of the pods bound to its node, by the stages that
kwok itself ships for that, so its figures are what the control plane allows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from e2e.cluster import binaries, processes
from e2e.cluster.controlplane import ControlPlane

_TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Kwok:
    """
    A running kwok; it ends with the guard that it was started by.

    Attributes:
        node: the name of its one node, tainted `kwok.x-k8s.io/node=fake`.
        process: kwok.
    """

    node: str
    process: processes.Process

    @classmethod
    def start(cls, guard: processes.Guard, directory: Path, plane: ControlPlane, node: str) -> Self:
        """
        Create a Node, start kwok for it in a new directory, return when Ready.

        Raises:
            Failed: kwok ended, or the node was not Ready in time.
        """
        program, stages = binaries.kwok()
        directory.mkdir(parents=True)
        plane.admin.call(
            "POST",
            "/api/v1/nodes",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}},
                "spec": {"taints": [_TAINT]},
            },
        )
        process = guard.spawn(
            "kwok",
            [
                program,
                f"--kubeconfig={plane.kubeconfig}",
                f"--config={stages}",
                f"--manage-single-node={node}",
                "--node-lease-duration-seconds=40",
            ],
            directory=directory,
        )
        kwok = cls(node, process)
        processes.wait_until(
            lambda: plane.node_is_ready(node),
            f"the node {node} Ready",
            within_s=30,
            alive=[process],
        )
        return kwok
