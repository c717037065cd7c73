"""Signals to a worker: to it or to nobody."""

import os
import signal
from pathlib import Path

import pytest

from wasm_node.protocol import journal, records
from wasm_node.runtime import attempts


def test_a_worker_reaped_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there when looked for, and is gone when signalled: fine."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    attempt = attempts.Attempt(records.AttemptId("pod", "main", 0), Path("/nowhere"))
    attempt.told = journal.Journal(pid, 1)

    def seen_and_then_reaped() -> bool:
        os.waitpid(pid, 0)
        return True

    monkeypatch.setattr(attempt, "is_alive", seen_and_then_reaped)
    attempt.send_signal(signal.SIGTERM)
