"""
A host of the test bed: containerd, kubelet and kube-proxy, all real.

It is a machine of a cluster as far as pods can tell: they have their own
network, images come from a registry, and `power_off` ends everything but the
disk. What its kernel parts are made of is in `hostinit.py`.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from e2e.cluster import binaries, debian, hostinit, processes
from e2e.cluster.controlplane import ControlPlane, NodeCredentials
from e2e.cluster.network import Network
from e2e.cluster.processes import Guard, Process, wait_until
from e2e.cluster.registry import Registry

_READY_WITHIN_S = 60.0
_GRACE_S = 15.0
_DISK = ("/var/lib", "/var/log")


@dataclass
class Host:
    """
    One host and its Node.

    Attributes:
        name: of the Node.
        directory: of its logs and files.
        disk: what of its files outlives a `power_off`.
        process: what stands outside of the host and ends with it.
    """

    name: str
    directory: Path
    disk: Path
    _index: int
    _guard: Guard
    _plane: ControlPlane
    _network: Network
    process: Process = field(init=False)

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
        name = f"host-{'ab'[index]}"
        host = cls(name, directory, directory / "disk", index, guard, plane, network)
        host._configure(registry)
        host.power_on()
        return host

    def power_on(self) -> None:
        """Start all that runs on it; return at once."""
        self.process = self._guard.spawn(
            self.name,
            debian.as_installed(
                sys.executable, "-I", hostinit.__file__, self.directory / "plan.json"
            ),
            directory=self.directory,
            grace_s=_GRACE_S,
        )

    def power_off(self) -> None:
        """End all that runs on it at once; only its disk stays."""
        self.process.terminate(within_s=_GRACE_S)

    @property
    def root(self) -> Path:
        """Where its file system is to be seen, while it is on."""
        return Path(f"/proc/{self._first_process()}/root")

    def processes(self, name: str) -> set[int]:
        """Return the pids, as we see them, of those whose name begins so."""
        return processes.named(self.process.pid, name)

    @contextlib.contextmanager
    def slow_network(self, mbit: int) -> Iterator[None]:
        """Let only so many megabits a second through to it meanwhile."""
        queue = ("dev", f"to-{self._first_process()}", "root")
        self._network.tell_switch("tc", "qdisc", "add", *queue, *_tbf(mbit))
        try:
            yield
        finally:
            self._network.tell_switch("tc", "qdisc", "del", *queue)

    def _first_process(self) -> int:
        """Return the pid of its PID 1, as we see it."""
        outside = self.process.pid
        return int(Path(f"/proc/{outside}/task/{outside}/children").read_text())

    def wait_ready(self) -> None:
        """Return once its Node is Ready."""
        wait_until(
            lambda: self._plane.node_is_ready(self.name),
            f"node {self.name} Ready",
            within_s=_READY_WITHIN_S,
            alive=[self.process],
        )

    def _configure(self, registry: Registry) -> None:
        address = self._network.host_address(self._index)
        credentials = self._plane.node_credentials(self.name, [address])
        proxy = self._plane.user_kubeconfig("system:kube-proxy")
        registries = f"registries/{registry.address}/hosts.toml"
        self._write("resolv.conf", "")
        self._write("containerd.toml", _containerd(self.directory, registry.address))
        self._write(registries, f'server = "http://{registry.address}"\n')
        self._write("cni/10-pods.conflist", _pod_network(self._network, self._index))
        self._write("kubelet.json", _kubelet(self.directory, credentials))
        self._write("kube-proxy.json", _kube_proxy(self.name, self._network, proxy))
        programs: dict[str, list[str | Path]] = {
            "containerd": [binaries.containerd() / "containerd", "--config=containerd.toml"],
            "kubelet": [
                binaries.program("kubelet"),
                "--config=kubelet.json",
                f"--kubeconfig={credentials.kubeconfig}",
                f"--hostname-override={self.name}",
                f"--node-ip={address}",
            ],
            "kube-proxy": [binaries.program("kube-proxy"), "--config=kube-proxy.json"],
        }
        plan = {
            "name": self.name,
            "directory": str(self.directory),
            "cgroup": f"wasm-node-{self._network.number}-{self.name}",
            "switch": self._network.switch.pid,
            "network": self._network.host_lines(self._index),
            "disk": _DISK,
            "programs": [_program(name, argv) for name, argv in programs.items()],
        }
        self._write("plan.json", plan)

    def _write(self, name: str, content: object) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def _tbf(mbit: int) -> list[str]:
    return ["tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "400ms"]


def _program(name: str, argv: Sequence[str | Path]) -> dict[str, Any]:
    path = f"{binaries.containerd()}:{os.environ['PATH']}"  # its shim is found by it
    return {
        "name": name,
        "argv": [os.fspath(word) for word in argv],
        "env": {**os.environ, "PATH": path},
    }


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
