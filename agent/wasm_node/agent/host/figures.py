"""
Figures of this host: what capacity, conditions and nodeInfo are made of.

Read from /proc and statfs; nothing here decides anything. What pods may use
in all is the runtime's to say, since they run in its control group.
"""

import os
import platform
import socket
from pathlib import Path

from wasm_node.agent.model import host
from wasm_node.protocol import messages


def read(state: Path, room: messages.Room | None, known_as: str) -> host.Figures:
    """
    Read all figures now; `state` says which file system counts.

    A host without a machine-id, such as a container, is `known_as` that.
    """
    return host.Figures(
        room=room,
        disk_bytes=disk(state)[0].capacity,
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=_text(Path("/etc/machine-id")) or known_as,
        boot_id=_text(Path("/proc/sys/kernel/random/boot_id")),
        address=_address(),
    )


def disk(state: Path) -> tuple[messages.Level, messages.Level]:
    """Return bytes and inodes of its file system; blocks."""
    found = os.statvfs(state)
    return (
        messages.Level(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize),
        messages.Level(found.f_favail, found.f_files),
    )


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
