"""
From what is known of a dead worker to the record of its ending.

Pure, so that each rule is a row of a table. The worker's own last word is
believed first: it was written while it lived. Without one, who killed it is
decided by facts that were recorded before the signal: a stop's note, the
kernel's count of memory kills. A number alone never says who.
"""

import dataclasses
import os
import signal
import struct

from wasm_node.protocol import journal, records

RECORD = struct.Struct("=ii")
"""One reaped process, as init tells it: pid and wait status."""
BATCH_BYTES = 512 * RECORD.size

_UNSEEN = "the container's end was not seen: the runtime or the host went away"


def pack(pid: int, status: int) -> bytes:
    """Return the record of one reaped process."""
    return RECORD.pack(pid, status)


def words(status: int) -> str:
    """Say a wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def decide(
    told: journal.Journal,
    *,
    stopped: bool,
    memory_kills: int,
    status: int | None,
    now_ns: int,
) -> records.ExitRecord:
    """
    Return how the attempt ended.

    `stopped`: our signal was about to be sent; `memory_kills`: how often the
    kernel killed in its cgroup; `status`: of its process, None if init never
    had it (it was the child of an earlier init).
    """
    started_at_ns = told.entered_at_ns or told.claimed_at_ns or now_ns
    if told.exit is not None:
        return told.exit

    def record(
        code: int, ended_by: records.EndedBy, reason: str, message: str = ""
    ) -> records.ExitRecord:
        return records.ExitRecord(code, ended_by, reason, message, started_at_ns, now_ns)

    if memory_kills:
        text = "the kernel ended it: it used more memory than resources.limits.memory allows"
        return record(137, records.EndedBy.MEMORY, "OOMKilled", text)
    if stopped:
        return record(143, records.EndedBy.STOP, "Error")
    if status is None:
        return record(137, records.EndedBy.UNKNOWN, "ContainerStatusUnknown", _UNSEEN)
    code = os.waitstatus_to_exitcode(status)
    text = f"its process died without a word ({words(status)}); nobody here asked for that"
    return record(128 - code if code < 0 else code or 255, records.EndedBy.CRASH, "Error", text)


def shut_down(how: records.ExitRecord) -> records.ExitRecord:
    """Return the ending of one that was stopped for the runtime's own end."""
    if how.ended_by is not records.EndedBy.STOP:
        return how
    return dataclasses.replace(how, ended_by=records.EndedBy.SHUTDOWN)


def stopped_before_start(now_ns: int) -> records.ExitRecord:
    """Return the record of an attempt that was stopped while it waited."""
    return records.ExitRecord(143, records.EndedBy.STOP, "Error", "", now_ns, now_ns)
