"""
A cluster of kind, made the way its users make theirs.

kind makes two nodes, containers on a machine with a docker daemon of its own,
and a CNI daemon on each that looks at every Node of the cluster. The project's
image is given to the nodes by `kind load`; wasm pods' images come from a
registry, which is the only thing here that a user would have elsewhere.
"""

import base64
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from e2e.cluster import binaries, debian, hosts, image, kindimage, pki, processes
from e2e.cluster.access import Access
from e2e.cluster.kindmachine import DockerMachine
from e2e.cluster.network import Network
from e2e.cluster.processes import Guard
from e2e.cluster.registry import Registry

_NAME = "kind"
_READY_WITHIN_S = 120.0
_PORT = 6443


def build() -> None:
    """
    Build all that such a cluster needs, so that no test has to wait for it.

    Raises:
        Failed: a part cannot be built; or this machine cannot have hosts.
    """
    if reason := hosts.cannot_run():
        raise processes.Failed(f"cannot build tier kind: {reason}")
    binaries.build()
    debian.tree()
    for part in (binaries.kind, image.build, kindimage.get):
        part()


@dataclass(frozen=True)
class KindNode:
    """
    A node of the cluster, which is a container.

    Attributes:
        name: of the Node and of the container.
        machine: that it is on.
        pid: of its first process, as we see it.
    """

    name: str
    machine: DockerMachine
    pid: int

    @classmethod
    def find(cls, machine: DockerMachine, name: str) -> Self:
        """Find it by its name."""
        return cls(name, machine, machine.pid_of(name))

    @property
    def root(self) -> Path:
        """Where its file system is to be seen."""
        return Path(f"/proc/{self.pid}/root")

    def processes(self, name: str) -> set[int]:
        """Return the pids, as we see them, of those whose name begins so."""
        return processes.named(self.pid, name)

    def run(self, *words: str) -> str:
        """Run a program on it and return what it prints."""
        return self.machine.run("docker", "exec", self.name, *words)


@dataclass(frozen=True)
class Kind:
    """
    A running cluster; it ends with the guard that it was started by.

    Attributes:
        directory: of all its files.
        network: between this machine and the docker daemon's.
        machine: with the docker daemon.
        plane: the way into the cluster.
        registry: on an address that pods reach.
        nodes: a control plane and a worker.
        node_image: what they were made of.
        tag: of wasm-node's own image, which the nodes have.
    """

    directory: Path
    network: Network
    machine: DockerMachine
    plane: Access
    registry: Registry
    nodes: tuple[KindNode, ...]
    node_image: str
    tag: str

    @classmethod
    def start(cls, guard: Guard, directory: Path) -> Self:
        """
        Make it in a new directory and return when its nodes are Ready.

        Raises:
            Failed: a part cannot be built, or did not come up.
            CalledProcessError: kind failed; its message is in the note.
        """
        directory.mkdir(parents=True)
        layout, node_image = image.build(), kindimage.get()
        network = Network.start(guard, directory)
        registry = Registry.start(guard, directory / "registry", address=network.address)
        hosts.push_hello(registry, layout.name)
        machine = DockerMachine.start(guard, directory / "machine", network)
        machine.run("docker", "load", "--quiet", f"--input={node_image.archive}")
        plane = _create(directory, machine, node_image.name)
        names = sorted(machine.run("kind", "get", "nodes", f"--name={_NAME}").split())
        nodes = tuple(KindNode.find(machine, name) for name in names)
        made = cls(
            directory, network, machine, plane, registry, nodes, node_image.name, layout.name
        )
        made._load(layout)
        return made

    def close(self) -> None:
        """Switch the machine off, and with it all that was on it."""
        self.machine.power_off()

    @property
    def hosts(self) -> tuple[KindNode, ...]:
        """Those that get a wasm node: a control plane's taint keeps it free."""
        return tuple(each for each in self.nodes if "control-plane" not in each.name)

    @property
    def repository(self) -> str:
        """The name of wasm-node's own image, which no registry has."""
        return f"{self.registry.address}/wasm-node"

    def _load(self, layout: Path) -> None:
        """Give the nodes an image, named as the chart will name it."""
        index = json.loads((layout / "index.json").read_text())
        name = f"{self.repository}:{self.tag}"
        index["manifests"][0]["annotations"] = {"io.containerd.image.name": name}
        named, archive = self.directory / "index.json", self.directory / "image.tar"
        named.write_text(json.dumps(index))
        with tarfile.open(archive, "w") as tar:
            tar.add(named, "index.json")
            for each in ("oci-layout", "blobs"):
                tar.add(layout / each, each)
        self.machine.run("kind", "load", "image-archive", f"--name={_NAME}", archive)
        archive.unlink()


def _create(directory: Path, machine: DockerMachine, node_image: str) -> Access:
    """Have kind create the cluster; give the way into it."""
    config, kubeconfig = directory / "kind.json", directory / "kubeconfig"
    config.write_text(json.dumps(_config(machine.address)))  # JSON is YAML
    machine.run(
        *("kind", "create", "cluster", f"--name={_NAME}", f"--image={node_image}"),
        *(f"--config={config}", f"--kubeconfig={kubeconfig}"),
    )
    plane = _access(directory, kubeconfig)
    nodes = [each["metadata"]["name"] for each in plane.admin.get("/api/v1/nodes")["items"]]
    processes.wait_until(
        lambda: all(map(plane.node_is_ready, nodes)), f"{nodes} Ready", within_s=_READY_WITHIN_S
    )
    return plane


def _config(address: str) -> dict[str, Any]:
    """Give what kind is told; the patches are for hosts of few rights."""
    kubelet = {"kind": "KubeletConfiguration", "failCgroupV1": False, "oomScoreAdj": 0}
    containerd = '[plugins."io.containerd.grpc.v1.cri"]\nrestrict_oom_score_adj = true\n'
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "apiServerAddress": address,
            "apiServerPort": _PORT,
            "kubeProxyMode": "nftables",
        },
        "nodes": [{"role": "control-plane"}, {"role": "worker"}],
        "kubeadmConfigPatches": [json.dumps(kubelet)],
        "containerdConfigPatches": [containerd],
    }


def _access(directory: Path, kubeconfig: Path) -> Access:
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    folder = directory / "pki"
    folder.mkdir(mode=0o700)
    files = {
        "ca.crt": cluster["certificate-authority-data"],
        "admin.crt": user["client-certificate-data"],
        "admin.key": user["client-key-data"],
    }
    for name, data in files.items():
        (folder / name).write_bytes(base64.b64decode(data))
    admin = pki.Certificate(folder / "admin.crt", folder / "admin.key")
    return Access(directory, cluster["server"], folder / "ca.crt", kubeconfig, admin)
