"""
The first process of a host of the test bed.

A host is what a machine of a cluster is to its kubelet: it has processes,
mounts, a network and cgroups of its own, and its disk is a directory. All but
the disk is the kernel's to take away when this process ends, so the end of a
host, however it comes, leaves nothing behind but its cgroups; those are
removed by the parent that stays outside. The disk of a host that is not to be
switched on again is in memory, and goes with it.

Kernel settings that have no namespace lie behind files of the host's own, so
that a kubelet may write them and the machine does not notice. What ends is
started again, as a host's service manager would. `host.Host` runs this by its
path in isolated mode: stdlib only, and no import of its package.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_CGROUPS = Path("/sys/fs/cgroup")
_PRIVATE_SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "cannot unshare")


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


class Cgroups:
    """The host's cgroup in every hierarchy of the machine."""

    def __init__(self, name: str) -> None:
        roots = [_CGROUPS] if (_CGROUPS / "cgroup.procs").exists() else list(_CGROUPS.iterdir())
        self._of = {root: root / name for root in roots if (root / "cgroup.procs").exists()}

    def enter(self) -> None:
        """Make them and move this process in."""
        for root, own in self._of.items():
            own.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1 leaves them empty
                if (root / name).exists():
                    (own / name).write_text((root / name).read_text())
            (own / "cgroup.procs").write_text("0")

    def show_only_own(self) -> None:
        """Put them in the place of the machine's own."""
        for root, own in self._of.items():
            _run("mount", "--bind", str(own), str(root))

    def remove(self) -> None:
        """Remove them; nothing may run there any more."""
        for own in self._of.values():
            for folder, _, _ in os.walk(own, topdown=False):
                with contextlib.suppress(FileNotFoundError):
                    Path(folder).rmdir()


class Init:
    """PID 1: makes the host, then keeps its programs running."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._directory = Path(plan["directory"])
        self._running: dict[int, dict[str, Any]] = {}

    def make_host(self) -> None:
        """Mount what is the host's own and bring its network up."""
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "proc", "proc", "/proc")
        for name in _PRIVATE_SETTINGS:
            setting = Path("/proc/sys") / name
            own = self._directory / "sysctl" / name
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(setting.read_text())
            _run("mount", "--bind", str(own), str(setting))
        for folder in self._plan["disk"]:
            if self._plan["disk_in_memory"]:
                _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
                continue
            own = self._directory / "disk" / folder.lstrip("/")
            own.mkdir(parents=True, exist_ok=True)
            _run("mount", "--bind", str(own), folder)
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        _run("mount", "--make-rshared", "/")  # as on any host with a service manager
        _run("hostname", self._plan["name"])
        _run("ip", "link", "set", "lo", "up")
        for line in self._plan["network"]:
            _run("ip", *line)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def serve(self) -> None:
        """Run the programs, each again whenever it ends."""
        for program in self._plan["programs"]:
            self._start(program)
        while True:
            pid, _ = os.wait()
            if (program := self._running.pop(pid, None)) is not None:
                time.sleep(0.5)  # or one that cannot start takes the processor
                self._start(program)

    def _start(self, program: dict[str, Any]) -> None:
        with (self._directory / f"{program['name']}.log").open("ab") as log:
            process = subprocess.Popen(
                program["argv"],
                env=program["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process.returncode = 0  # serve() collects it, together with the orphans
        self._running[process.pid] = program


def main(plan: dict[str, Any]) -> int:
    """Start the host and wait for its end; SIGTERM ends it."""
    cgroups = Cgroups(plan["cgroup"])
    linked, link = os.pipe()
    outside = os.open("/proc/self/ns/pid", os.O_RDONLY)
    _unshare(_CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(link)
        cgroups.enter()
        _unshare(_CLONE_NEWCGROUP | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWUTS | _CLONE_NEWIPC)
        os.read(linked, 1)
        init = Init(plan)
        init.make_host()
        cgroups.show_only_own()
        init.serve()
    os.close(linked)
    _libc.setns(outside, _CLONE_NEWPID)  # or our further children were the host's
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGKILL))
    try:
        _plug_in(plan, pid, link)
    except (OSError, subprocess.CalledProcessError):
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.waitpid(pid, 0)  # returns when the last process of the host is gone
        cgroups.remove()
    return 0


def _plug_in(plan: dict[str, Any], pid: int, link: int) -> None:
    """Lay a cable from the switch to the host; then it may go on."""
    ours, theirs = Path(f"/proc/{os.getpid()}/ns/net"), Path(f"/proc/{pid}/ns/net")
    while ours.readlink() == theirs.readlink():
        time.sleep(0.005)
    switch = ("nsenter", f"--net=/proc/{plan['switch']}/ns/net", "ip", "link")
    port = f"to-{pid}"
    _run(*switch, "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _run(*switch, "set", port, "master", "switch", "up")
    os.write(link, b"\n")
    os.close(link)


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))
