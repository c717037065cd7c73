"""
A worker's process, as its journal names it: pid and start together.

A pid alone may be another process's by now; nothing is ever sent to one that
is not the very process that wrote the journal.
"""

import contextlib
import os
import signal
from pathlib import Path

from wasm_node.protocol import journal, layout
from wasm_node.runtime import durable


def told(directory: Path) -> journal.Journal:
    """Read what the worker of this directory has told by now."""
    return journal.Journal.parse(durable.read(directory / layout.JOURNAL) or b"")


def is_alive(told: journal.Journal) -> bool:
    """Say whether the worker's process exists, if only as a zombie."""
    return told.pid != 0 and _ticks(told.pid) == told.start_ticks


def is_running(told: journal.Journal) -> bool:
    """Say whether the worker's process exists and is no zombie."""
    stat = durable.read(Path(f"/proc/{told.pid}/stat"))
    return stat is not None and is_alive(told) and journal.state(stat) not in {"Z", "X"}


def send_signal(told: journal.Journal, number: int) -> None:
    """Send a signal to the worker and to no other process, ever."""
    if not told.pid:
        return
    try:
        pidfd = os.pidfd_open(told.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(told):  # checked after the open: the pidfd is of this very process
            with contextlib.suppress(ProcessLookupError):  # init reaped it meanwhile
                signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def _ticks(pid: int) -> int:
    stat = durable.read(Path(f"/proc/{pid}/stat"))
    return journal.start_ticks(stat) if stat else 0
