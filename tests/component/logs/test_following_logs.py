"""Following a log that another process writes, until its attempt has ended."""

import asyncio
import contextlib
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from wasm_node.agent.logs import changes, following
from wasm_node.agent.model.log_options import LogOptions

FOLLOW = LogOptions(follow=True)
STAMP = b"2026-11-22T12:00:00.000000000Z stdout F "

# Appends argv[2] numbered lines in the pieces that a worker would write.
WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for n in range(int(sys.argv[2])):
    os.write(fd, b"2026-11-22T12:00:00.%09dZ stdout F line %d\\n" % (n, n))
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Make an empty log in a directory of its own."""
    path = tmp_path / "0.log"
    path.touch()
    return path


@pytest.fixture
async def news() -> AsyncIterator[changes.Changes]:
    """Give real inotify."""
    with changes.Changes() as made:
        yield made


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing but news wake a follower."""
    monkeypatch.setattr(changes, "POLL_S", 3600.0)


def append(log: Path, *lines: bytes) -> None:
    """Append finished lines."""
    with log.open("ab") as file:
        file.writelines(STAMP + each + b"\n" for each in lines)


def rotate(log: Path, late: bytes) -> None:
    """Rename the log; its writer has something more for the old file."""
    with log.open("ab") as writer:
        log.rename(log.with_suffix(".old"))
        writer.write(STAMP + late)


def open_descriptors(log: Path) -> int:
    """Count this process's descriptors of one file."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += each.readlink() == log
    return found


async def collect(shown: AsyncIterator[bytes], until: Callable[[bytes], bool]) -> bytes:
    """Read on until what was read satisfies."""
    found = b""
    async for piece in shown:
        found += piece
        if until(found):
            break
    return found


async def test_a_writing_process_is_followed_without_loss(log: Path, news: changes.Changes) -> None:
    """Every line another process appends arrives once, in order."""
    count = 20_000
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, log, str(count))
    async with following.open_log(
        log, FOLLOW, is_running=lambda: writer.returncode is None, news=news
    ) as shown:
        found = await collect(shown, lambda _: False)
    await writer.wait()

    assert b"".join(b"line %d\n" % each for each in range(count)) == found


@pytest.mark.usefixtures("no_polling")
async def test_growth_wakes_the_follower(log: Path, news: changes.Changes) -> None:
    """What is appended shows without anyone asking for it."""
    async with following.open_log(log, FOLLOW, is_running=lambda: True, news=news) as shown:
        for each in (b"one", b"two", b"three"):
            append(log, each)
            assert each + b"\n" == await anext(shown)


@pytest.mark.usefixtures("no_polling")
async def test_the_end_of_the_attempt_wakes_the_follower(log: Path, news: changes.Changes) -> None:
    """`notify` ends a follow at once, with the last words shown."""
    running = True
    async with following.open_log(log, FOLLOW, is_running=lambda: running, news=news) as shown:
        append(log, b"first")
        assert await anext(shown) == b"first\n"
        append(log, b"last words")
        running = False
        news.notify(log)
        assert await collect(shown, lambda _: False) == b"last words\n"


async def test_an_end_that_nobody_announces_is_seen(
    log: Path, news: changes.Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without news, the next look finds that the attempt has ended."""
    monkeypatch.setattr(changes, "POLL_S", 0.01)
    looks = iter([True, True, True, False, False])
    append(log, b"all")
    async with following.open_log(log, FOLLOW, is_running=lambda: next(looks), news=news) as shown:
        assert await collect(shown, lambda _: False) == b"all\n"


async def test_following_an_ended_attempt_is_reading_it(log: Path, news: changes.Changes) -> None:
    """Of an attempt that is over, follow shows all and ends."""
    append(log, b"one", b"two")
    with log.open("ab") as file:
        file.write(STAMP + b"torn")
    async with following.open_log(log, FOLLOW, is_running=lambda: False, news=news) as shown:
        assert await collect(shown, lambda _: False) == b"one\ntwo\ntorn"


async def test_reading_ends_at_the_end(log: Path, news: changes.Changes) -> None:
    """Without follow a running attempt's log is shown as far as it is now."""
    append(log, b"one", b"two", b"three")
    options = LogOptions(tail_lines=2)
    async with following.open_log(log, options, is_running=lambda: True, news=news) as shown:
        assert await collect(shown, lambda _: False) == b"two\nthree\n"


@pytest.mark.usefixtures("no_polling")
async def test_a_followed_tail_begins_behind(log: Path, news: changes.Changes) -> None:
    """With a tail of none, only what is written from now on shows."""
    append(log, b"before")
    options = LogOptions(follow=True, tail_lines=0)
    async with following.open_log(log, options, is_running=lambda: True, news=news) as shown:
        append(log, b"after")
        assert await anext(shown) == b"after\n"


async def test_the_limit_ends_a_follow(log: Path, news: changes.Changes) -> None:
    """A follow is over when the bytes asked for are shown."""
    append(log, b"one", b"two")
    options = LogOptions(follow=True, limit_bytes=5)
    async with following.open_log(log, options, is_running=lambda: True, news=news) as shown:
        assert await collect(shown, lambda _: False) == b"one\nt"


@pytest.mark.usefixtures("no_polling")
async def test_rotation_loses_and_repeats_nothing(log: Path, news: changes.Changes) -> None:
    """A follower goes from a renamed file to its successor without a gap."""
    running = True
    async with following.open_log(log, FOLLOW, is_running=lambda: running, news=news) as shown:
        append(log, b"1")
        assert await anext(shown) == b"1\n"
        rotate(log, b"2\n")
        append(log, b"3")
        assert await collect(shown, lambda seen: seen.endswith(b"3\n")) == b"2\n3\n"
        append(log, b"4")
        running = False
        news.notify(log)
        assert await collect(shown, lambda _: False) == b"4\n"


@pytest.mark.usefixtures("no_polling")
async def test_rotation_takes_along_what_was_cut_short(log: Path, news: changes.Changes) -> None:
    """An unfinished record at the end of a rotated file is shown as it is."""
    async with following.open_log(log, FOLLOW, is_running=lambda: True, news=news) as shown:
        append(log, b"1")
        assert await anext(shown) == b"1\n"
        rotate(log, b"torn")
        append(log, b"2")
        assert await collect(shown, lambda seen: seen.endswith(b"2\n")) == b"torn2\n"


@pytest.mark.usefixtures("no_polling")
async def test_a_follower_that_leaves_frees_all(log: Path, news: changes.Changes) -> None:
    """Cancelled while it waits, a follower leaves nothing open."""
    append(log, b"one")
    waiting = asyncio.Event()

    async def follow() -> None:
        async with following.open_log(log, FOLLOW, is_running=lambda: True, news=news) as shown:
            await anext(shown)
            waiting.set()
            await anext(shown)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow())
        await waiting.wait()
        assert open_descriptors(log) == 1
        task.cancel()

    assert open_descriptors(log) == 0
    assert repr(news) == "<Changes 0 directories, 0 followers>"


async def test_without_inotify_it_looks_every_second(
    log: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the kernel grants no inotify, following works, and says so."""
    monkeypatch.setattr(changes, "POLL_S", 0.01)
    with no_descriptors_left(), changes.Changes() as news:
        pass
    assert "Too many open files" in caplog.text

    async with following.open_log(log, FOLLOW, is_running=lambda: True, news=news) as shown:
        append(log, b"one")
        assert await anext(shown) == b"one\n"
        append(log, b"two")
        assert await anext(shown) == b"two\n"


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Make every new descriptor fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_many_followers_share_one_watch(log: Path, news: changes.Changes) -> None:
    """A hundred followers of one log cost one watch, and each sees it all."""
    running = True
    append(log, b"begin")
    begun = asyncio.Barrier(101)

    async def follow() -> bytes:
        async with following.open_log(log, FOLLOW, is_running=lambda: running, news=news) as shown:
            first = await anext(shown)
            await begun.wait()
            return first + await collect(shown, lambda _: False)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow()) for _ in range(100)]
        await begun.wait()
        assert repr(news) == "<Changes 1 directories, 100 followers>"
        append(log, *(b"%d" % each for each in range(100)))
        running = False
        news.notify(log)

    expected = b"begin\n" + b"".join(b"%d\n" % each for each in range(100))
    assert {expected} == {each.result() for each in tasks}
    assert open_descriptors(log) == 0
