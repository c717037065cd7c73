"""
A wasm node's statuses beside a real kubelet's, of the same pods.

What differs has to stand in docs/statuses.md with its reason, and what stands
there has to differ.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e import images, namespaces, pods, watching
from e2e.cluster import binaries, wait_until
from e2e.cluster.hosts import Hosts
from e2e.cluster.release import Release
from e2e.tierb import statuses
from wasm_node.agent.model import quantity

_PAGE = Path(__file__).parents[2] / "docs" / "statuses.md"
_WITHIN_S = 120.0

pytestmark = pytest.mark.long


def _images(address: str, platform: str, program: Path) -> tuple[str, str]:
    """Push two images of a program, which differ by a file."""
    files = {"guest": program.read_bytes()}
    name = f"status-{platform.split('/')[0]}"
    pushed = (
        images.push_tar_image(address, name, made, ["/guest"], platform=platform, tag=tag)
        for tag, made in (("v1", files), ("v2", {**files, "other": b""}))
    )
    first, other = (each.reference for each in pushed)
    return first, other


@pytest.fixture(scope="module")
def found(
    hosts: Hosts, release: Release, bed: namespaces.Bed
) -> Iterator[dict[str, list[statuses.Difference]]]:
    """Give what differs, by the name of the case."""
    native, wasm = binaries.guest()
    address = hosts.registry.address
    platforms = (
        ("linux/amd64", native, hosts.hosts[0].name),
        ("wasi/wasm", wasm, release.nodes[0]),
    )
    with contextlib.ExitStack() as stack:
        sides = [
            Side(stack.enter_context(bed.namespace()), *_images(address, platform, program), node)
            for platform, program, node in platforms
        ]
        first, *others = statuses.CASES
        for side in sides:
            side.space.apply(side.pod(first))
        for side in sides:  # the image is there and compiled by then
            side.settled(first)
            side.space.apply(*map(side.pod, others))
        for case in others:
            for side in sides:
                side.act(case)
        yield {
            case.name: list(
                statuses.differences(case.name, *(side.settled(case) for side in sides))
            )
            for case in statuses.CASES
        }


@dataclass(frozen=True)
class Side:
    """A node, with a namespace and two images for its pods."""

    space: namespaces.Namespace
    image: str
    other: str
    node: str

    def pod(self, case: statuses.Case) -> dict[str, Any]:
        """Give a case's pod for this node."""
        made = case.pod(self.image)
        made["metadata"]["name"] = case.name
        made["spec"] |= {
            "nodeSelector": {
                "kubernetes.io/hostname": self.node,
                **made["spec"].get("nodeSelector", {}),
            },
            "tolerations": [pods.TOLERATION],
        }
        if case.unscheduled:
            made["spec"]["nodeName"] = self.node
        if case.preempted:
            made["spec"]["containers"][0]["resources"] = {"requests": self._more_than_half()}
        return made

    def act(self, case: statuses.Case) -> None:
        """Do to a case's pod what is to be done, once it runs."""
        if case.then:
            self.space.wait(case.name, "a running pod", pods.is_ready, within_s=_WITHIN_S)
            wait_until(
                lambda: self.space.log(case.name, container="main") == f"{statuses.UP}\n",
                "its word",
                within_s=_WITHIN_S,
            )
            self.space.kubectl(*case.then(self.other))
        if case.preempted:
            self.space.wait(case.name, "a running pod", pods.is_ready, within_s=_WITHIN_S)
            critical = self.pod(dataclasses.replace(case, name=f"{case.name}-by"))
            critical["spec"]["priorityClassName"] = "system-cluster-critical"
            self.space.apply(critical)
            self.space.wait_running(f"{case.name}-by", within_s=_WITHIN_S)

    def settled(self, case: statuses.Case) -> watching.Pod:
        """Return a case's pod as it ends up."""
        return self.space.wait(case.name, "its end state", case.settled, within_s=_WITHIN_S).pod

    def _more_than_half(self) -> dict[str, str]:
        """Return so much of what no other case asks for."""
        node = self.space.bed.plane.admin.get(f"/api/v1/nodes/{self.node}")
        there = node["status"]["allocatable"]["ephemeral-storage"]
        return {"ephemeral-storage": str(int(quantity.parse(there) * 6 / 10))}


@pytest.mark.parametrize("name", [each.name for each in statuses.CASES])
def test_a_status_is_a_kubelets(name: str, found: dict[str, list[statuses.Difference]]) -> None:
    """Each field is the same, or docs/statuses.md says why it is not."""
    allowed = statuses.allowed(_PAGE.read_text())

    unexplained = [
        str(each) for each in found[name] if not any(row.covers(each) for row in allowed)
    ]
    assert unexplained == []


def test_what_is_said_to_differ_does(found: dict[str, list[statuses.Difference]]) -> None:
    """No row of docs/statuses.md is about something that is the same by now."""
    every = [each for case in found.values() for each in case]

    idle = [row for row in statuses.allowed(_PAGE.read_text()) if not any(map(row.covers, every))]
    assert idle == []
