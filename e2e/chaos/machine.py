"""
What the kernel and the disk show of a node, asked without the node.

Processes by /proc, connections by the kernel's table of sockets, and what lies
about by looking at it. Nothing here trusts a record of the node's own; only
names of its directories are known.
"""

import collections
import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.chaos.recording import Machine, Process
from e2e.cluster import guardian
from e2e.cluster.node import WasmNode

_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TEMPORARY = re.compile(r"\btmp\w{8}\b")  # as Python's tempfile names them
_WORKER = "wasm:"
_COMMAND = "exec:"
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOKS = 3
_NAMESPACES = ("net", "mnt", "pid", "ipc")
_BUILT = ("images", "compiled", "pki")  # of no pod


def process(pid: int) -> Process | None:
    """Describe a process; None: it is gone, or only waits to be buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name = stat.partition("(")[2].rpartition(")")[0].strip()
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]), name)


def is_alive(known: Process) -> bool:
    """Say whether this very process runs still."""
    found = process(known.pid)
    return found is not None and found.began_ticks == known.began_ticks


def born(known: Process) -> float:
    """Return when a process began, of time.monotonic."""
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - known.began_ticks / _TICKS
    return time.monotonic() - age_s


def peer(own_port: int, its_port: int) -> Process | None:
    """
    Find who has the other end of a connection over 127.0.0.1.

    NB: the kernel gives its table page by page, and a row may move from one
    that is to come to one that was read; so who is not found is looked for
    again.
    """
    found = (_peer(own_port, its_port) for _ in range(_LOOKS))
    return next((each for each in found if each is not None), None)


def _peer(own_port: int, its_port: int) -> Process | None:
    wanted = (f"0100007F:{its_port:04X}", f"0100007F:{own_port:04X}")
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    inodes = [row[9] for row in rows if (row[1], row[2]) == wanted]
    for each in _guests_of_all() if inodes else ():
        if f"socket:[{inodes[0]}]" in set(_open_files(each.pid)):
            return each
    return None


def _guests_of_all() -> Iterator[Process]:
    for entry in Path("/proc").glob("[0-9]*"):
        found = process(int(entry.name))
        if found is not None and found.name.startswith((_WORKER, _COMMAND)):
            yield found


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(each.readlink())


def workers(node: WasmNode) -> list[Process]:
    """List the containers' processes below the runtime."""
    return [each for each in _below(node) if each.name.startswith(_WORKER)]


def all_named(node: WasmNode, forks: int) -> bool:
    """Say whether a stopped fork server's workers all have their names."""
    stat = Path(f"/proc/{forks}/stat").read_text()
    own = process(forks)
    assert own is not None
    same = [each for each in _below(node) if each.name == own.name]
    return stat.rpartition(")")[2].split()[0] == "T" and same == [own]


def look(node: WasmNode, before: Machine | None = None) -> Machine:
    """Look at all that a node has to do with; `before` it had any pod."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    counts: collections.Counter[str] = collections.Counter()
    for line in _lines(node):
        where = _UID.sub("UID", line)
        if uids := _UID.findall(line):
            found[where].update(uids)
        else:
            counts[_TEMPORARY.sub("tmp*", line)] += 1
    strays = {f"{line}, {n + 1}" for line, count in counts.items() for n in range(count)}
    known = before.strays if before else frozenset()
    below, now = list(_below(node)), time.monotonic()
    guests = (_WORKER, _COMMAND)
    return Machine(
        workers=frozenset(each for each in below if each.name.startswith(_WORKER)),
        others=tuple(sorted(x.name for x in below if not x.name.startswith(guests))),
        commands={x: now - born(x) for x in below if x.name.startswith(_COMMAND)},
        pods={where: frozenset(uids) for where, uids in found.items()},
        strays=frozenset(strays - known),
    )


def groups(node: WasmNode) -> list[Path]:
    """List the node's control groups, its own before what is in it."""
    name = f"wasm-node-{hashlib.sha256(str(node.state.resolve()).encode()).hexdigest()[:8]}"
    walked = os.walk("/sys/fs/cgroup")  # passes over what goes meanwhile
    return sorted(Path(folder) for folder, _, _ in walked if name in Path(folder).parts)


def _below(node: WasmNode) -> Iterator[Process]:
    for pid in guardian.descendants(node.runtime.pid):
        found = process(pid)
        if found is not None:
            yield found


def _lines(node: WasmNode) -> Iterator[str]:
    """Yield a line for each thing: a path, a mount, a group, a namespace."""
    for root in (node.state, node.directory / "run", node.logs):
        for folder, folders, files in os.walk(root):
            if Path(folder) == node.state:
                folders[:] = [each for each in folders if each not in _BUILT]
            here = Path(folder).relative_to(node.directory)
            yield from (f"file {here}/{name}" for name in files)
            yield f"directory {here}"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if str(node.directory) in line:
            yield f"mount {line}"
    yield from (f"control group {each.name}" for each in groups(node))
    spaces = {_namespaces(pid) for pid in guardian.descendants(node.runtime.pid)}
    for kind in {each for found in spaces for each in found} - set(_namespaces(node.runtime.pid)):
        yield f"namespace {kind}"


def _namespaces(pid: int) -> tuple[str, ...]:
    try:
        return tuple(str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in _NAMESPACES)
    except OSError:
        return ()
