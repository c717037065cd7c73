"""What programs beside an attempt were denied, as the runtime keeps it."""

from pathlib import Path

from wasm_node.protocol import records
from wasm_node.runtime import attempts


def _attempt() -> attempts.Attempt:
    return attempts.Attempt(records.AttemptId("u", "main", 0), Path("/none"))


def test_the_same_is_kept_once_for_each_command() -> None:
    """A check that runs every few seconds says nothing new."""
    attempt, one = _attempt(), records.Denial("connect", "connections to 192.0.2.1:25")

    heard = [attempt.hear_beside(command, (one,)) for command in ("a", "a", "b")]

    assert heard == [True, False, True]
    assert [each.command for each in attempt.fact().denied] == ["a", "b"]


def test_no_more_than_some_are_kept() -> None:
    """One that wants of another target each time fills no memory."""
    attempt = _attempt()
    targets = [records.Denial("connect", str(number)) for number in range(40)]

    heard = [attempt.hear_beside("x" * 100, (each,)) for each in targets]

    assert heard == [True] * 32 + [False] * 8
    assert {each.command for each in attempt.fact().denied} == {"x" * 64}
