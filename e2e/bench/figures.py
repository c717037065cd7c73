"""
What /proc says of processes and of the machine: memory and CPU time.

CPU time of a process is read from its own clock, to the nanosecond: a worker
that needs five milliseconds to start is nothing in ticks of ten.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # linux/posix-timers.h: a process's clock is ~pid << 3 | 2


def pss_kib(pids: Iterable[int]) -> int:
    """Add up the proportional set sizes of processes, in KiB."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def cpu_s(pids: Iterable[int]) -> float:
    """Add up the CPU seconds of processes and of children that they reaped."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
        except OSError:
            continue  # it ended meanwhile
        total += sum(int(each) for each in fields[13:15]) / _TICKS
    return total


def machine_cpu_s() -> float:
    """Return the CPU seconds that all of this machine has spent."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = (int(each) for each in fields)
    return (user + nice + system + sum(interrupts_and_stolen[:2])) / _TICKS


def memory_gib() -> float:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
