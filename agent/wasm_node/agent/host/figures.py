"""
Figures of this host: what capacity, conditions and nodeInfo are made of.

Read from /proc and statfs; nothing here decides anything. What pods may use
in all is the runtime's to say, since they run in its control group.
"""

import platform
import shutil
import socket
from pathlib import Path

from wasm_node.agent.model import host
from wasm_node.protocol import messages

_TASK_LIMITS = ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max")


def read(state: Path, room: messages.Room | None, known_as: str) -> host.Figures:
    """
    Read all figures now; `state` says which file system counts.

    A host without a machine-id, such as a container, is `known_as` that.
    """
    disk = shutil.disk_usage(state)
    return host.Figures(
        room=room,
        available_bytes=_meminfo()["MemAvailable"],
        pids_max=min(int(_text(Path(name))) for name in _TASK_LIMITS),
        pids_now=_tasks(),
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=_text(Path("/etc/machine-id")) or known_as,
        boot_id=_text(Path("/proc/sys/kernel/random/boot_id")),
        address=_address(),
    )


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def _tasks() -> int:
    """Tasks of the whole host, from the fourth figure of loadavg."""
    return int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _address() -> str:
    """Ask the routing table: connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: an address of nobody
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
