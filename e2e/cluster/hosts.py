"""
A cluster with machines of its own: a control plane, a registry and two hosts.

The hosts' containerd pulls from the registry, as everybody's does: the pause
image, the image of this checkout, and the wasm pod of `helm test`. There is no
cluster DNS, because nothing of wasm-node asks for a name.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import wasmtime

from e2e import images
from e2e.cluster import binaries, debian, image, processes
from e2e.cluster.controlplane import ControlPlane
from e2e.cluster.host import Host
from e2e.cluster.network import Network
from e2e.cluster.processes import Guard
from e2e.cluster.registry import Registry

_HELLO = Path(__file__).parents[2] / "agent/wasm_node/examples/hello.wat"


def cannot_run() -> str:
    """Say why this machine cannot have hosts; empty if it can."""
    if os.geteuid() != 0:
        return "hosts need root, to make namespaces and mounts"
    programs = ("apt-get", "dpkg", "ip", "mount", "nsenter", "perl", "unshare")
    missing = [name for name in programs if not shutil.which(name)]
    return f"hosts need {', '.join(missing)}" if missing else ""


def build() -> None:
    """
    Build all that hosts need, so that no test has to wait for it.

    Raises:
        Failed: a part cannot be built; or this machine cannot have hosts.
    """
    if reason := cannot_run():
        raise processes.Failed(f"cannot build tier b: {reason}")
    binaries.build()
    debian.tree()
    for part in (binaries.containerd, binaries.helm, binaries.pause, image.build):
        part()


@dataclass(frozen=True)
class Hosts:
    """
    A running cluster; it ends with the guard that it was started by.

    Attributes:
        directory: of all its files.
        network: between this machine and the hosts.
        plane: its control plane, which pods reach by its Service.
        registry: on an address that hosts and pods reach.
        hosts: two, Ready.
        image: wasm-node's own, as an OCI layout directory.
        tag: of it in the registry.
    """

    directory: Path
    network: Network
    plane: ControlPlane
    registry: Registry
    hosts: tuple[Host, Host]
    image: Path
    tag: str

    @classmethod
    def start(cls, guard: Guard, directory: Path) -> Self:
        """
        Start all of it in a new directory and return when both hosts are Ready.

        Raises:
            Failed: a part cannot be built, or did not come up.
        """
        directory.mkdir(parents=True)
        layout = image.build()
        network = Network.start(guard, directory)
        registry = Registry.start(guard, directory / "registry", address=network.address)
        tag = _push(registry, layout)
        plane = ControlPlane.start(guard, directory / "plane", address=network.address)
        a, b = (
            Host.start(guard, directory / f"host-{index}", plane, network, registry, index)
            for index in range(2)
        )
        for host in (a, b):
            host.wait_ready()
        return cls(directory, network, plane, registry, (a, b), layout, tag)

    def close(self) -> None:
        """Switch the hosts off and remove their disks, a gigabyte of images."""
        for host in self.hosts:
            host.power_off()
            shutil.rmtree(host.disk)

    def push_next(self, tag: str, *, megabytes: int) -> None:
        """Push an image that does the same, with so much more to pull."""
        more = {"padding": os.urandom(megabytes << 20)}
        images.push_layout(self.registry.address, "wasm-node", self.image, tag=tag, more=more)

    @property
    def repository(self) -> str:
        """The name of wasm-node's own image."""
        return f"{self.registry.address}/wasm-node"


def push_hello(registry: Registry, tag: str) -> None:
    """Push the wasm pod of `helm test`."""
    hello = bytes(wasmtime.wat2wasm(_HELLO.read_text()))
    images.push_artifact(registry.address, "wasm-node-hello", hello, tag=tag)


def _push(registry: Registry, layout: Path) -> str:
    tag = layout.name
    images.push_layout(registry.address, "wasm-node", layout, tag=tag)
    pause = {"pause": binaries.pause().read_bytes()}
    images.push_tar_image(
        registry.address, "pause", pause, ["/pause"], platform="linux/amd64", tag="1"
    )
    push_hello(registry, tag)
    return tag
