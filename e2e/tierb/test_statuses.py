"""
A wasm node's statuses beside a real kubelet's, of the same pods.

What differs has to stand in docs/statuses.md with its reason, and what stands
there has to differ.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import images, namespaces, pods
from e2e.cluster import binaries, wait_until
from e2e.cluster.hosts import Hosts
from e2e.cluster.release import Release
from e2e.tierb import statuses

_PAGE = Path(__file__).parents[2] / "docs" / "statuses.md"
_WITHIN_S = 120.0

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def found(
    hosts: Hosts, release: Release, bed: namespaces.Bed
) -> Iterator[dict[str, list[statuses.Difference]]]:
    """Give what differs, by the name of the case."""
    native, wasm = (each.read_bytes() for each in binaries.guest())
    address = hosts.registry.address
    linux = images.push_tar_image(
        address, "status-linux", {"guest": native}, ["/guest"], platform="linux/amd64"
    )
    ours = images.push_tar_image(address, "status-wasm", {"guest": wasm}, ["/guest"])
    with contextlib.ExitStack() as stack:
        sides = [
            (stack.enter_context(bed.namespace()), image.reference, node)
            for image, node in ((linux, hosts.hosts[0].name), (ours, release.nodes[0]))
        ]
        first, *others = statuses.CASES
        for namespace, image, node in sides:
            namespace.apply(_bound(first, image, node))
        for namespace, image, node in sides:  # the image is there and compiled by then
            _settled(namespace, first)
            namespace.apply(*(_bound(each, image, node) for each in others))
        yield {
            each.name: list(
                statuses.differences(
                    each.name, *(_settled(namespace, each) for namespace, _, _ in sides)
                )
            )
            for each in statuses.CASES
        }


def _bound(case: statuses.Case, image: str, node: str) -> dict[str, object]:
    made = case.pod(image)
    made["metadata"]["name"] = case.name
    made["spec"] |= {
        "nodeSelector": {"kubernetes.io/hostname": node, **made["spec"].get("nodeSelector", {})},
        "tolerations": [pods.TOLERATION],
    }
    if case.unscheduled:
        made["spec"]["nodeName"] = node
    return made


def _settled(namespace: namespaces.Namespace, case: statuses.Case) -> dict[str, object]:
    if case.deleted:
        namespace.wait(case.name, "a running pod", pods.is_ready, within_s=_WITHIN_S)
        said = f"{statuses.UP}\n"
        wait_until(lambda: namespace.log(case.name) == said, "its word", within_s=_WITHIN_S)
        namespace.kubectl("delete", "pod", case.name, "--wait=false")
    return namespace.wait(case.name, "its end state", case.settled, within_s=_WITHIN_S).pod


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
