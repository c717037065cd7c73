"""
A node whose disk fills up, as its cluster sees it.

The disk is a tmpfs of 96 MiB in a mount namespace that goes with its last
process. What lies on it, and how full it is, the file system says.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import images as oci
from e2e import namespaces, pods
from e2e.cluster import ControlPlane, Guard, Registry, WasmNode, wait_until
from e2e.namespaces import Bed, Namespace
from tests.wasm import guests

Images = Callable[[str], str]

MIB = 1 << 20
_NAME = "wasm-full"
_DISK = 96 * MIB
_BIG = 24 * MIB
_LEAST = 40 * MIB


class Disk:
    """A file system of its own, and who runs on it."""

    def __init__(self, guard: Guard, root: Path) -> None:
        self.path = root / "disk"
        self.path.mkdir()
        script = f"mount -t tmpfs -o size={_DISK},mode=755 none {self.path} && exec sleep inf"
        words = ["unshare", "--mount", "sh", "-c", script]
        holder = guard.spawn("disk", words, directory=root)
        self.through = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt")
        self.inside = Path(f"/proc/{holder.pid}/root", *self.path.parts[1:])
        wait_until(lambda: self.capacity == _DISK, "the disk", within_s=10)

    @property
    def capacity(self) -> int:
        """Its size in bytes."""
        found = os.statvfs(self.inside)
        return found.f_blocks * found.f_frsize

    @property
    def available(self) -> int:
        """What is left of it."""
        found = os.statvfs(self.inside)
        return found.f_bavail * found.f_frsize

    def blobs(self) -> set[str]:
        """Return the digests of all blobs of images on it."""
        return {f"sha256:{each.name}" for each in self.inside.glob("images/blobs/sha256/*")}

    def code(self) -> set[str]:
        """Return the names of all files of compiled code on it."""
        return {each.name for each in self.inside.glob("compiled/*/*")}


@pytest.fixture(scope="module")
def disk(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Give an empty disk."""
    return Disk(guard, tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def full(
    guard: Guard, plane: ControlPlane, disk: Disk, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bed]:
    """Give a node on that disk, whose conditions pass soon."""
    settings = {
        "evictionHard": {"nodefs.available": str(_LEAST)},
        "evictionPressureTransitionPeriod": "2s",
        "imageMinimumGCAge": "0s",
        "imageGCHighThresholdPercent": 100,
    }
    directory = tmp_path_factory.mktemp("node") / "n"
    node = WasmNode.start(
        guard,
        directory,
        plane,
        _NAME,
        settings=settings,
        state=disk.path,
        through=disk.through,
    )
    with namespaces.alone(plane, node) as bed:
        yield bed


@pytest.fixture
def space(full: Bed) -> Iterator[Namespace]:
    """Give an empty namespace, whose pods belong on that node."""
    with full.namespace() as made:
        yield made


def _is_full(plane: ControlPlane) -> bool:
    node = plane.admin.get(f"/api/v1/nodes/{_NAME}")
    return bool(pods.condition(node, "DiskPressure")["status"] == "True")


def _pod(name: str, image: str, **more: Any) -> dict[str, Any]:
    made = pods.pod(name, image, **more)
    made["spec"]["nodeName"] = _NAME
    return made


def _big(registry: Registry) -> oci.Pushed:
    """Push a guest with so much beside it that it fills a disk."""
    head = b"\x04test"
    size = len(head) + _BIG
    length = bytes(
        (size >> shift) & 0x7F | (0x80 if shift < 28 else 0) for shift in range(0, 35, 7)
    )
    module = guests.path("echo").read_bytes() + b"\0" + length + head + bytes(_BIG)
    return oci.push_artifact(registry.address, "reclaim/big", module)


def _told(plane: ControlPlane) -> dict[str, tuple[str, str]]:
    """Return the events of the node, as kubectl shows them: by reason."""
    columns = "-o=custom-columns=R:.reason,T:.type,M:.message"
    chosen = f"--field-selector=involvedObject.kind=Node,involvedObject.name={_NAME}"
    said = plane.kubectl("get", "events", "-n=default", "--no-headers", columns, chosen)
    lines = [each.split(None, 2) for each in said.splitlines()]
    return {reason: (kind, message.strip()) for reason, kind, message in lines}


def test_a_full_disk_costs_an_image_and_no_pod(
    space: Namespace, disk: Disk, images: Images, registry: Registry
) -> None:
    """
    The unused one goes, with its code; what a pod uses can run again.

    Its own pod is over and still there: that is no use of it.
    """
    plane, small, big = space.bed.plane, images("sleep"), _big(registry)
    space.apply(_pod("keep", small, restart="Always"))
    space.wait_running("keep")
    needed, code = disk.blobs(), disk.code()
    space.apply(_pod("once", big.reference))
    space.wait_over("once")
    had, compiled = disk.blobs(), disk.code()
    (disk.inside / "somebody-elses").write_bytes(bytes(disk.available - _LEAST + 4 * MIB))
    wait_until(lambda: disk.blobs() == needed, "the image being removed", within_s=20)
    wait_until(lambda: disk.code() == code, "its code being removed", within_s=20)
    wait_until(lambda: "NodeHasDiskPressure" in _told(plane), "an event", within_s=20)
    wait_until(lambda: not _is_full(plane), "no pressure", within_s=30)
    space.kubectl("delete", "pod", "keep", "--grace-period=1")
    space.apply(_pod("again", small, restart="Always", imagePullPolicy="Never"))
    space.wait_running("again")
    wait_until(lambda: "EvictionThresholdMet" in _told(plane), "an event", within_s=20)
    told = _told(plane)
    described = plane.kubectl("describe", "node", _NAME)

    assert space.get("pods/once")["status"]["phase"] == "Succeeded"
    assert big.layer in had
    assert len(compiled - code) == 2
    assert disk.available >= _LEAST
    assert told["EvictionThresholdMet"] == (
        "Warning",
        "Attempting to reclaim ephemeral-storage",
    )
    assert told["NodeHasDiskPressure"] == (
        "Normal",
        f"Node {_NAME} status is now: NodeHasDiskPressure",
    )
    assert {"Starting", "NodeReady", "NodeHasSufficientMemory", "NodeHasSufficientPID"} <= set(told)
    assert "Attempting to reclaim ephemeral-storage" in described
    assert space.events("Evicted") == []
    assert pods.status(space.history("keep")[-1].pod)["restartCount"] == 0


def test_a_disk_without_any_room_costs_a_pod(space: Namespace, disk: Disk, images: Images) -> None:
    """It is evicted and reported, and noted on the disk when there is room."""
    plane = space.bed.plane
    space.apply(_pod("victim", images("sleep"), restart="Always"))
    uid = space.wait_running("victim")["metadata"]["uid"]
    kept, filler = disk.inside / "pods", disk.inside / "all-of-it"
    noted = kept / uid / "pod.json"
    wait_until(lambda: list(kept.iterdir()) == [noted.parent], "no pod that goes", within_s=20)
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    left = disk.available
    evicted = space.wait_over("victim")
    message = evicted["status"]["message"]
    said = space.bed.node.agent.log.read_text()
    filler.unlink()
    wait_until(lambda: message in noted.read_text(), "a note of it", within_s=20)
    wait_until(lambda: not _is_full(plane), "no pressure", within_s=30)

    assert left == 0
    assert (evicted["status"]["phase"], evicted["status"]["reason"]) == ("Failed", "Evicted")
    assert message.startswith("The node was low on resource: ephemeral-storage.")
    assert pods.state(evicted, "terminated")["exitCode"] == 143
    space.wait_event("Evicted", message)
    assert "Eviction of pod" in said
    assert "cannot be noted on disk yet: [Errno 28]" in said
