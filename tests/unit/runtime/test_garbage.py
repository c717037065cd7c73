"""What is kept of attempts that are over."""

from pathlib import Path

from wasm_node.protocol import layout, records
from wasm_node.runtime import attempts

_HOW = records.ExitRecord(1, records.EndedBy.ITSELF, "Error", "", 1, 2)


def _attempt(
    known: attempts.Attempts, container: str, number: int, *, ended: bool
) -> attempts.Attempt:
    made = known.new(records.AttemptId("u", container, number))
    made.directory.mkdir(parents=True)
    (made.directory / layout.SPEC).touch()
    if ended:
        known.ends(made, _HOW)
    return made


def test_the_last_two_attempts_are_kept(tmp_path: Path) -> None:
    """Older ones of that container go, on disk and in lists; others stay."""
    known = attempts.Attempts(tmp_path, "life")
    older = [_attempt(known, "main", number, ended=True) for number in range(2)]
    kept = [
        _attempt(known, "main", 2, ended=True),
        _attempt(known, "main", 3, ended=False),
        _attempt(known, "side", 0, ended=True),
    ]
    known.prune(kept[1])

    assert [False, False] == [each.directory.exists() for each in older]
    assert all(each.directory.exists() for each in kept)
    assert {each.id for each in known.of_pod("u")} == {each.id for each in kept}


def test_what_has_not_ended_is_kept(tmp_path: Path) -> None:
    """However old it is."""
    known = attempts.Attempts(tmp_path, "life")
    running = _attempt(known, "main", 0, ended=False)
    known.prune(_attempt(known, "main", 5, ended=False))

    assert running.directory.exists()


def test_a_forgotten_pod_leaves_no_directory(tmp_path: Path) -> None:
    """Whatever lies in those of its attempts; its neighbours keep theirs."""
    known = attempts.Attempts(tmp_path, "life")
    _attempt(known, "main", 0, ended=True)
    stray = layout.attempt(tmp_path, records.AttemptId("u", "main", 7))
    stray.mkdir()
    other = layout.attempt(tmp_path, records.AttemptId("v", "main", 0))
    other.mkdir(parents=True)
    known.forget("u")

    assert not (layout.pod(tmp_path, "u") / "containers").exists()
    assert other.exists()
