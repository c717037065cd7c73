"""
How much this runtime may use: what the Node's capacity is made of.

The runtime says it, not the agent, because on a cluster the two live in
containers of their own and pods run in the runtime's. What it was told on its
command line (by the downward API) counts; else its own control group, the
affinity mask and the host.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from wasm_node.protocol import messages, settings

_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60  # cgroup v1 writes "none" as a number near 2**63
_PIDS = ("kernel/pid_max", "kernel/threads-max")


def read(
    wanted: settings.RuntimeSettings, engine: str, worlds: tuple[str, ...] = ()
) -> messages.Room:
    """Return it as things are now, with what the engine says of itself."""
    return messages.Room(
        engine=engine,
        cpu_millis=wanted.cpu_millis or min(_cpu_millis()),
        memory_bytes=wanted.memory_bytes or min(_memory_bytes()),
        pids_max=min(_pids()),
        address=wanted.address,
        worlds=worlds,
    )


def _cpu_millis() -> Iterator[int]:
    yield len(os.sched_getaffinity(0)) * 1000
    quota, _, period = _text(_CGROUP / "cpu.max").partition(" ")
    if not quota:
        quota = _text(_CGROUP / "cpu/cpu.cfs_quota_us")
        period = _text(_CGROUP / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():  # "max" and -1 are no limit
        yield int(quota) * 1000 // int(period)


def _memory_bytes() -> Iterator[int]:
    yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        yield from (each for each in _number(_CGROUP / name) if each < _NO_LIMIT_BYTES)


def _pids() -> Iterator[int]:
    for name in _PIDS:
        yield from _number(Path("/proc/sys") / name)
    for name in ("pids.max", "pids/pids.max"):
        yield from _number(_CGROUP / name)


def _number(path: Path) -> Iterator[int]:
    text = _text(path)
    if text.isdigit():
        yield int(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
