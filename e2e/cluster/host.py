"""
A host of the test bed: containerd, kubelet and kube-proxy, all real.

It is a machine of a cluster as far as pods can tell: they have their own
network, images come from a registry, and `power_off` ends everything but the
disk. What its kernel parts are made of is in `hostinit.py`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from e2e.cluster import binaries
from e2e.cluster.controlplane import ControlPlane, NodeCredentials
from e2e.cluster.machine import Machine
from e2e.cluster.network import Network
from e2e.cluster.processes import Guard, wait_until
from e2e.cluster.registry import Registry

_READY_WITHIN_S = 60.0


@dataclass
class Host(Machine):
    """One host and its Node, which has its name."""

    plane: ControlPlane

    @classmethod
    def start(
        cls,
        guard: Guard,
        directory: Path,
        plane: ControlPlane,
        network: Network,
        registry: Registry,
        index: int,
    ) -> Self:
        """Start host number `index`, from 0; it is not Ready at once."""
        directory.mkdir(parents=True)
        host = cls(f"host-{'ab'[index]}", directory, index, guard, network, plane)
        host._configure(registry)
        host.power_on()
        return host

    @contextlib.contextmanager
    def slow_network(self, mbit: int) -> Iterator[None]:
        """Let only so many megabits a second through to it meanwhile."""
        queue = ("dev", f"to-{self._first_process()}", "root")
        self.network.tell_switch("tc", "qdisc", "add", *queue, *_tbf(mbit))
        try:
            yield
        finally:
            self.network.tell_switch("tc", "qdisc", "del", *queue)

    def wait_ready(self) -> None:
        """Return once its Node is Ready."""
        wait_until(
            lambda: self.plane.node_is_ready(self.name),
            f"node {self.name} Ready",
            within_s=_READY_WITHIN_S,
            alive=[self.process],
        )

    def _configure(self, registry: Registry) -> None:
        credentials = self.plane.node_credentials(self.name, [self.address])
        proxy = self.plane.user_kubeconfig("system:kube-proxy")
        registries = f"registries/{registry.address}/hosts.toml"
        self.write("resolv.conf", "")
        self.write("containerd.toml", _containerd(self.directory, registry.address))
        self.write(registries, f'server = "http://{registry.address}"\n')
        self.write("cni/10-pods.conflist", _pod_network(self.network, self.index))
        self.write("kubelet.json", _kubelet(self.directory, credentials))
        self.write("kube-proxy.json", _kube_proxy(self.name, self.network, proxy))
        kubelet: list[str | Path] = [
            binaries.program("kubelet"),
            "--config=kubelet.json",
            f"--kubeconfig={credentials.kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
        ]
        self.set_up(
            {
                "containerd": [binaries.containerd() / "containerd", "--config=containerd.toml"],
                "kubelet": kubelet,
                "kube-proxy": [binaries.program("kube-proxy"), "--config=kube-proxy.json"],
            },
            path=str(binaries.containerd()),  # its shim is found by it
        )


def _tbf(mbit: int) -> list[str]:
    return ["tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "400ms"]


def _containerd(directory: Path, registry: str) -> str:
    return f"""\
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{registry}/pause:1'
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '{directory}/registries'
[plugins.'io.containerd.cri.v1.runtime']
disable_apparmor = true
restrict_oom_score_adj = true  # a machine may not let its root lower it
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/usr/lib/cni']  # Debian's; see debian.as_installed
conf_dir = '{directory}/cni'
"""


def _pod_network(network: Network, index: int) -> dict[str, Any]:
    ranges = {"subnet": network.pods_of(index)}
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[ranges]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _kubelet(directory: Path, credentials: NodeCredentials) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {"x509": {"clientCAFile": str(credentials.client_ca)}},
        "tlsCertFile": str(credentials.serving.cert),
        "tlsPrivateKeyFile": str(credentials.serving.key),
        "resolvConf": str(directory / "resolv.conf"),
        "volumePluginDir": "/var/lib/kubelet/plugins",  # not below /usr, which is the machine's
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "maxPods": 100,
        # The disk is the machine's, and none of a test bed's business.
        "evictionHard": {"nodefs.available": "1Mi", "imagefs.available": "1Mi"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
    }


def _kube_proxy(name: str, network: Network, kubeconfig: Path) -> dict[str, Any]:
    machines_own = {"maxPerCore": 0, "min": 0}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "nftables",
        "clusterCIDR": network.pods,
        "hostnameOverride": name,
        "conntrack": {**machines_own, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
