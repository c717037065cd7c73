"""
runc for a docker daemon whose root may not do everything.

`docker run --privileged`, which kind needs, grants every capability there is,
and runc refuses a container that is to have more than its parent. So what this
process could not grant is taken out of the container's configuration first:
a privileged container gets all that the machine has, and nothing where that is
all. And since such a container may write kernel settings that have no
namespace, which a kubelet and systemd do, files of its own are laid over them
before its first program runs.

The daemon runs this by its path in isolated mode, in runc's place and with
runc's words: stdlib only, and no import of its package.
"""

import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_RUNC = "/usr/sbin/runc"
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
    LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER
    SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
    SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
    MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
    CHECKPOINT_RESTORE
"""  # by their numbers in the kernel, from 0
_SETTINGS = (  # those that a kubelet or systemd writes
    "fs/file-max fs/nr_open fs/protected_fifos fs/protected_hardlinks fs/protected_regular "
    "fs/protected_symlinks kernel/keys/root_maxbytes kernel/keys/root_maxkeys kernel/panic "
    "kernel/panic_on_oops kernel/pid_max vm/overcommit_memory vm/panic_on_oom"
)
_LAY_OWN = f"""
for each in {_SETTINGS}; do
    [ -e "/proc/sys/$each" ] || continue
    mkdir -p "/run/settings/${{each%/*}}"
    cat "/proc/sys/$each" > "/run/settings/$each"
    mount --bind "/run/settings/$each" "/proc/sys/$each"
done
"""


def _bound(process: dict[str, Any]) -> None:
    """Leave a process no capability that this one could not have."""
    status = Path("/proc/self/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    ours = {f"CAP_{name}" for bit, name in enumerate(_NAMES.split()) if int(mask, 16) >> bit & 1}
    for kind, names in process.get("capabilities", {}).items():
        process["capabilities"][kind] = [name for name in names if name in ours]


def _bound_container(config: dict[str, Any]) -> None:
    _bound(config["process"])
    if not config["linux"].get("readonlyPaths"):  # a privileged one
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        lay = {"path": "/bin/sh", "args": ["sh", "-ec", _LAY_OWN], "env": [path]}
        config.setdefault("hooks", {}).setdefault("startContainer", []).append(lay)


def _edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def main(words: Sequence[str]) -> None:
    """Change what runc is about to read, then be runc."""
    value_of = dict(itertools.pairwise(words))
    if "--bundle" in value_of:
        _edit(Path(value_of["--bundle"]) / "config.json", _bound_container)
    if "--process" in value_of:
        _edit(Path(value_of["--process"]), _bound)
    os.execv(_RUNC, [_RUNC, *words])  # noqa: S606  # in its place, not beside it


if __name__ == "__main__":
    main(sys.argv[1:])
