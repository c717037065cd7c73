"""
The wires between this machine and the hosts of a test bed.

A switch in a network namespace of its own joins the machine and the hosts.
All that the machine itself gets is one interface with one address, and two
routes to the hosts' pods; they vanish with the switch, and the switch is a
process. Its forwarding, filters and settings are not touched.

Addresses come from 198.18.0.0/15, which is set aside for test beds (RFC 2544):
198.18.N.0/24 are the machine (.1) and the hosts, 198.19.N.0/24 their pods.
"""

import contextlib
import ipaddress
import random
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from e2e.cluster import processes

_HOSTS = 2


@dataclass(frozen=True)
class Network:
    """
    A running switch; it ends with the guard that it was started by.

    Attributes:
        number: N of its addresses, not another's on this machine meanwhile.
        switch: the process that holds it.
    """

    number: int
    switch: processes.Process

    @classmethod
    def start(cls, guard: processes.Guard, directory: Path) -> Self:
        """Start a switch with this machine on it; its log is in `directory`."""
        number = guard.hold(_claim())
        switch = guard.spawn("switch", ["unshare", "--net", "sleep", "inf"], directory=directory)
        network = cls(number, switch)
        processes.wait_until(network._has_namespace, "the switch", within_s=10, alive=[switch])
        network._lay_wires()
        return network

    @property
    def address(self) -> str:
        """The machine's address, as the hosts and their pods see it."""
        return f"198.18.{self.number}.1"

    @property
    def pods(self) -> str:
        """The addresses of all pods."""
        return f"198.19.{self.number}.0/24"

    def host_address(self, index: int) -> str:
        """Give the address of host number `index`, from 0."""
        return f"198.18.{self.number}.{2 + index}"

    def pods_of(self, index: int) -> str:
        """Give the addresses of the pods of host number `index`, from 0."""
        parts = ipaddress.ip_network(self.pods).subnets(new_prefix=25)
        return str(list(parts)[index])

    def host_lines(self, index: int) -> list[list[str]]:
        """Give what a host has to say to `ip`, a list of words each."""
        others = [other for other in range(_HOSTS) if other != index]
        routes = [(self.pods_of(other), self.host_address(other)) for other in others]
        return [
            ["address", "add", f"{self.host_address(index)}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            *(["route", "add", pods, "via", host] for pods, host in routes),
            ["route", "add", "default", "via", self.address],
        ]

    def tell_switch(self, *words: str) -> None:
        """Run a program in the switch's network."""
        _run("nsenter", f"--net=/proc/{self.switch.pid}/ns/net", *words)

    def _has_namespace(self) -> bool:
        own, its = Path("/proc/self/ns/net"), Path(f"/proc/{self.switch.pid}/ns/net")
        return own.readlink() != its.readlink()

    def _lay_wires(self) -> None:
        name = f"wasm-node-{self.number}"
        end = ("peer", "name", "machine", "netns", str(self.switch.pid))
        _run("ip", "link", "add", name, "type", "veth", *end)
        _run("ip", "address", "add", f"{self.address}/24", "dev", name)
        _run("ip", "link", "set", name, "up")
        self.tell_switch("ip", "link", "add", "switch", "type", "bridge")
        self.tell_switch("ip", "link", "set", "machine", "master", "switch", "up")
        self.tell_switch("ip", "link", "set", "switch", "up")
        for host in range(_HOSTS):
            _run("ip", "route", "add", self.pods_of(host), "via", self.host_address(host))


@contextlib.contextmanager
def _claim() -> Iterator[int]:
    """Give a number that no other test bed of this machine has meanwhile."""
    for number in random.SystemRandom().sample(range(1, 255), 254):
        with socket.socket(socket.AF_UNIX) as name:
            try:
                name.bind(f"\0wasm-node/test-bed/network/{number}")
            except OSError:
                continue
            yield number
            return
    raise OSError("cannot claim a network: all of 198.18.1.0-198.18.254.0 are taken")


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise processes.Failed(f"cannot {' '.join(words)}: {done.stderr.strip()}")
