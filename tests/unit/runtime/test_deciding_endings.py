"""Who ended it: a table of what may be known of a dead worker."""

import signal

import pytest

from wasm_node.protocol import journal, records
from wasm_node.protocol.records import EndedBy
from wasm_node.runtime import endings
from wasm_node.runtime.engines import outcomes

SAID = records.ExitRecord(7, EndedBy.ITSELF, "Error", "", 6, 9)
MUTE = journal.Journal(17, 99, 5, 6)
NOW = 1000


@pytest.mark.parametrize(
    ("told", "stopped", "kills", "status", "code", "ended_by", "reason"),
    [
        # its own word is believed, whatever came after
        (journal.Journal(17, 99, 5, 6, SAID), False, 0, 7 << 8, 7, EndedBy.ITSELF, "Error"),
        (journal.Journal(17, 99, 5, 6, SAID), True, 1, 9, 7, EndedBy.ITSELF, "Error"),
        (journal.Journal(17, 99, 5, 6, SAID), False, 0, None, 7, EndedBy.ITSELF, "Error"),
        # the kernel's count comes before our own signal: it was first
        (MUTE, False, 1, 9, 137, EndedBy.MEMORY, "OOMKilled"),
        (MUTE, True, 1, 9, 137, EndedBy.MEMORY, "OOMKilled"),
        # our signal, whichever way it ended the process
        (MUTE, True, 0, 143 << 8, 143, EndedBy.STOP, "Error"),
        (MUTE, True, 0, 9, 143, EndedBy.STOP, "Error"),
        (MUTE, True, 0, None, 143, EndedBy.STOP, "Error"),
        # nobody here: a crash, as long as anybody saw it
        (MUTE, False, 0, signal.SIGSEGV, 139, EndedBy.CRASH, "Error"),
        (MUTE, False, 0, signal.SIGKILL, 137, EndedBy.CRASH, "Error"),
        (MUTE, False, 0, 143 << 8, 143, EndedBy.CRASH, "Error"),
        (MUTE, False, 0, 0, 255, EndedBy.CRASH, "Error"),
        (MUTE, False, 0, None, 137, EndedBy.UNKNOWN, "ContainerStatusUnknown"),
    ],
)
def test_a_number_never_says_who(
    told: journal.Journal,
    stopped: bool,
    kills: int,
    status: int | None,
    code: int,
    ended_by: EndedBy,
    reason: str,
) -> None:
    """The ending follows from recorded facts, in this order."""
    how = endings.decide(told, stopped=stopped, memory_kills=kills, status=status, now_ns=NOW)

    assert (how.code, how.ended_by, how.reason) == (code, ended_by, reason)
    assert how.started_at_ns == 6


def test_one_that_never_entered_has_a_time() -> None:
    """A worker that died before its guest began is dated by its claim."""
    told = journal.Journal(17, 99, 5)
    how = endings.decide(told, stopped=False, memory_kills=0, status=9, now_ns=NOW)

    assert (how.started_at_ns, how.finished_at_ns) == (5, NOW)


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        (0, 0, "Completed"),
        (1, 1, "Error"),
        (255, 255, "Error"),
        (256, 255, "Error"),
        (257, 1, "Error"),
        (0xFFFFFFFF, 255, "Error"),
    ],
)
def test_exit_codes_are_those_of_a_process(asked: int, code: int, reason: str) -> None:
    """The low eight bits, and never 0 for a failure."""
    outcome = outcomes.exited(asked)

    assert (outcome.code, outcome.reason) == (code, reason)
    assert (str(asked) in outcome.message) is (asked > 255)


def test_inferred_memory_says_so() -> None:
    """One that only may be of memory carries the word and the old story."""
    outcome = outcomes.out_of_memory(outcomes.trapped("unreachable at f"), 31 << 20, 32 << 20)

    assert (outcome.code, outcome.ended_by, outcome.reason) == (137, EndedBy.MEMORY, "OOMKilled")
    assert outcome.message.startswith("inferred: ")
    assert "unreachable at f" in outcome.message
