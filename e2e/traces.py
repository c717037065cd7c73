"""What a machine shows of a test bed that stands on it."""

import re
import subprocess
from pathlib import Path

_WRITTEN_BY_NODES = (
    "fs/file-max",
    "fs/nr_open",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/pid_max",
    "vm/overcommit_memory",
)


def settings() -> dict[str, str]:
    """Read the machine's kernel settings that kubelet and systemd change."""
    return {name: Path("/proc/sys", name).read_text() for name in _WRITTEN_BY_NODES}


def of_network(number: int) -> list[str]:
    """List interfaces, routes, mounts and cgroups of a bed, by its network."""
    asked = (["ip", "-oneline", "link"], ["ip", "route"], ["cat", "/proc/self/mounts"])
    told = [subprocess.run(each, check=True, capture_output=True, text=True) for each in asked]
    lines = [line for each in told for line in each.stdout.splitlines()]
    mark = f"wasm-node-{number}"
    cgroups = [str(each) for each in Path("/sys/fs/cgroup").glob(f"**/{mark}-*")]
    return [line for line in lines if mark in re.split(r"[\s:@]+", line)] + cgroups


def exists(pid: int) -> bool:
    """Say whether there is such a process."""
    return Path(f"/proc/{pid}").exists()
