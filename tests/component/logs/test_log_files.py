"""One open log file: the tail from behind, rotation, closing at any time."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wasm_node.agent import errors
from wasm_node.agent.logs import files

LENGTHS = st.one_of(st.integers(0, 100), st.integers(65_000, 66_000), st.integers(0, 200_000))


def read_all(log: files.LogFile) -> bytes:
    """Read to the present end."""
    found = b""
    while chunk := log.read():
        found += chunk
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lengths=st.lists(LENGTHS, max_size=8),
    unfinished=LENGTHS,
    lines=st.integers(0, 10),
)
def test_the_tail_is_the_naive_tail(
    tmp_path: Path, lengths: list[int], unfinished: int, lines: int
) -> None:
    """Reading backwards finds what splitting the whole file finds."""
    whole = [bytes([97 + at]) * length + b"\n" for at, length in enumerate(lengths)]
    rest = b"z" * unfinished
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(whole) + rest)
    log = files.LogFile(path)
    log.open(lines)
    found = read_all(log)
    log.close()

    kept = whole[-lines:] if lines else []
    assert b"".join(kept) + rest == found


def test_the_tail_of_a_big_file_reads_little(tmp_path: Path) -> None:
    """Ten lines from the end of 1 GiB (of holes) cost no reading of it all."""
    path = tmp_path / "0.log"
    with path.open("wb") as file:
        file.seek(1 << 30)
        file.write(b"\nlast\n" * 12)
    before = int(Path("/proc/self/io").read_text().split()[1])
    log = files.LogFile(path)
    log.open(10)
    read = int(Path("/proc/self/io").read_text().split()[1]) - before
    log.close()

    assert read < 3 * files.CHUNK_BYTES


def test_a_missing_log_is_not_found(tmp_path: Path) -> None:
    """Opening what is not there says which file."""
    with pytest.raises(errors.NotFound, match=r"cannot read log .*/0\.log: there is no such file"):
        files.LogFile(tmp_path / "0.log").open()


def test_an_unreadable_log_says_why(tmp_path: Path) -> None:
    """A path that cannot be opened is retryable, with the system's reason."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(errors.Retryable, match="Too many levels of symbolic links"):
        files.LogFile(tmp_path / "loop").open()


def test_rotation_is_seen_and_followed(tmp_path: Path) -> None:
    """A renamed log is read on until another file has its name."""
    path = tmp_path / "0.log"
    path.write_bytes(b"old\n")
    log = files.LogFile(path)
    log.open()
    path.rename(tmp_path / "0.log.1")
    renamed_only = log.replaced()
    path.write_bytes(b"new\n")

    assert not renamed_only
    assert log.replaced()
    assert log.read() == b"old\n"
    log.reopen()
    assert not log.replaced()
    assert log.read() == b"new\n"
    log.close()


def test_closing_during_a_read_waits_for_its_end(tmp_path: Path) -> None:
    """The descriptor stays open under a reading thread, and goes after it."""
    path = tmp_path / "0.log"
    path.write_bytes(b"x")
    log = files.LogFile(path)
    log.open()
    reading, may_end = threading.Event(), threading.Event()
    held: list[int] = []

    def read_slowly() -> None:
        with log._in_use() as descriptor:
            held.append(descriptor)
            reading.set()
            may_end.wait(10)

    thread = threading.Thread(target=read_slowly)
    thread.start()
    assert reading.wait(10)
    log.close()
    os.fstat(held[0])  # still open
    may_end.set()
    thread.join()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held[0])
    with pytest.raises(ValueError, match="is closed"):
        log.read()
