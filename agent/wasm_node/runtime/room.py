"""
How much this runtime may use: what the Node's capacity is made of.

The runtime says it, not the agent, because on a cluster the two live in
containers of their own and pods run in the runtime's. What it was told on its
command line (by the downward API) counts; else its own control groups, the
affinity mask and the host.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from wasm_node.protocol import messages, settings
from wasm_node.runtime.limits import bounds

_CGROUP = Path("/sys/fs/cgroup")


def read(
    wanted: settings.RuntimeSettings,
    around: bounds.Bounds,
    engine: str,
    worlds: tuple[str, ...],
) -> messages.Room:
    """Return it as things are now, with what the engine says of itself."""
    return messages.Room(
        engine=engine,
        cpu_millis=wanted.cpu_millis or min(_cpu_millis()),
        memory_bytes=wanted.memory_bytes or around.memory_bytes,
        pids_max=around.most_tasks,
        address=wanted.address,
        worlds=worlds,
    )


def memory_left(
    wanted: settings.RuntimeSettings, around: bounds.Bounds, own_bytes: Callable[[], int]
) -> messages.Level:
    """
    Return how much memory is left.

    `own_bytes` says what our processes use. It counts where we were told less
    than any control group would let us have: nobody else looks after that.
    """
    found = list(around.memory())
    least = min(each.limit for each in found)
    told = wanted.memory_bytes or least
    if told < least:
        found.append(bounds.Bound(told, own_bytes()))
    return _level(found, told)


def tasks_left(around: bounds.Bounds) -> messages.Level:
    """Return how many tasks there may still be."""
    found = list(around.tasks())
    return _level(found, min(each.limit for each in found))


def _level(found: list[bounds.Bound], capacity: int) -> messages.Level:
    available = min(each.limit - each.used for each in found)
    return messages.Level(available=min(max(0, available), capacity), capacity=capacity)


def _cpu_millis() -> Iterator[int]:
    yield len(os.sched_getaffinity(0)) * 1000
    quota, _, period = _text(_CGROUP / "cpu.max").partition(" ")
    if not quota:
        quota = _text(_CGROUP / "cpu/cpu.cfs_quota_us")
        period = _text(_CGROUP / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():  # "max" and -1 are no limit
        yield int(quota) * 1000 // int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
