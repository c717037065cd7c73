"""What each log option shows, and that pieces of input do not matter."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.logs import reading
from wasm_node.agent.model.log_options import LogOptions, Stream

NOON = 1795348800  # 2026-11-22T12:00:00Z

LOG = (
    b"2026-11-22T12:00:00.000000001Z stdout F one\n"
    b"2026-11-22T12:00:01.000000000Z stderr F two\n"
    b"2026-11-22T12:00:02.500000000Z stdout P thr\n"
    b"2026-11-22T12:00:02.600000000Z stdout F ee\n"
    b"2026-11-22T12:00:03.7Z stdout F \n"
    b"2026-11-22T12:00:04Z stderr F five\n"
)

TABLE = {
    "all of it": (LogOptions(), b"one\ntwo\nthree\n\nfive\n"),
    "timestamps stand where lines begin, in nanoseconds": (
        LogOptions(timestamps=True),
        b"2026-11-22T12:00:00.000000001Z one\n"
        b"2026-11-22T12:00:01.000000000Z two\n"
        b"2026-11-22T12:00:02.500000000Z three\n"
        b"2026-11-22T12:00:03.700000000Z \n"
        b"2026-11-22T12:00:04.000000000Z five\n",
    ),
    "since includes its own moment": (
        LogOptions(since_ns=(NOON + 1) * 10**9),
        b"two\nthree\n\nfive\n",
    ),
    "since is exact to the nanosecond": (
        LogOptions(since_ns=NOON * 10**9 + 2),
        b"two\nthree\n\nfive\n",
    ),
    "since before 1970 is all": (LogOptions(since_ns=-5), b"one\ntwo\nthree\n\nfive\n"),
    "since may cut a long line, without a time in its middle": (
        LogOptions(since_ns=NOON * 10**9 + 2_550_000_000, timestamps=True, limit_bytes=3),
        b"ee\n",
    ),
    "stdout alone": (LogOptions(stream=Stream.STDOUT), b"one\nthree\n\n"),
    "stderr alone": (LogOptions(stream=Stream.STDERR), b"two\nfive\n"),
    "the limit cuts in mid-line": (LogOptions(limit_bytes=6), b"one\ntw"),
    "the limit counts times": (
        LogOptions(limit_bytes=33, timestamps=True),
        b"2026-11-22T12:00:00.000000001Z on",
    ),
    "the limit does not count the other stream": (
        LogOptions(limit_bytes=6, stream=Stream.STDERR),
        b"two\nfi",
    ),
    "a limit beyond the end is no limit": (
        LogOptions(limit_bytes=10**6),
        b"one\ntwo\nthree\n\nfive\n",
    ),
    "a tail counts records, and those that since leaves out": (
        LogOptions(tail_lines=2, since_ns=(NOON + 1) * 10**9),
        b"two\n",
    ),
    "a followed tail goes on behind its lines": (
        LogOptions(tail_lines=2, follow=True),
        b"one\ntwo\nthree\n\nfive\n",
    ),
    "a tail of none is nothing": (LogOptions(tail_lines=0), b""),
}


def render(options: LogOptions, *pieces: bytes) -> bytes:
    """Feed the pieces to a fresh renderer, to the end."""
    renderer = reading.Renderer(options)
    return b"".join([*(renderer.feed(each) for each in pieces), renderer.finish()])


@pytest.mark.parametrize(("options", "shown"), TABLE.values(), ids=TABLE.keys())
def test_each_option(options: LogOptions, shown: bytes) -> None:
    """Each option shows what the kubelet shows."""
    assert shown == render(options, LOG)


@pytest.mark.parametrize(("options", "shown"), TABLE.values(), ids=TABLE.keys())
def test_every_split(options: LogOptions, shown: bytes) -> None:
    """Where the input is cut makes no difference to the output."""
    for at in range(len(LOG) + 1):
        assert shown == render(options, LOG[:at], LOG[at:])


def test_byte_by_byte() -> None:
    """Single bytes render as the whole does."""
    pieces = [LOG[at : at + 1] for at in range(len(LOG))]

    assert render(LogOptions(), *pieces) == b"one\ntwo\nthree\n\nfive\n"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no record at all",
        b"2026-11-22T12:00:00Z stdout",
        b"2026-11-22T12:00:00Z stdout F",
        b"2026-11-22T12:00:00Z stdin F x",
        b"2026-11-22 12:00:00Z stdout F x",
        b"2026-11-22T12:00:00.1234567890Z stdout F x",
    ],
)
def test_what_is_no_record_is_left_out(line: bytes) -> None:
    """A line that is not a CRI record is skipped, and counts for no tail."""
    after = b"2026-11-22T12:00:00Z stdout F kept\n"

    assert render(LogOptions(tail_lines=1), line + b"\n" + after) == b"kept\n"


def test_unknown_tags_are_tolerated() -> None:
    """Only the first tag means something: `P` is a piece, all else is full."""
    log = b"2026-11-22T12:00:00Z stdout P:new a\n2026-11-22T12:00:00Z stdout F:x:y b\n"

    assert render(LogOptions(), log) == b"ab\n"


def test_an_unfinished_last_record_is_shown_at_the_end() -> None:
    """What a killed writer had begun is shown as far as it goes."""
    assert render(LogOptions(), LOG[:44], LOG[44:87]) == b"one\ntwo"


def test_a_selected_stream_decides_alone_where_its_lines_begin() -> None:
    """A record of the other stream puts no time into the middle of a line."""
    log = (
        b"2026-11-22T12:00:00.000000000Z stdout P a\n"
        b"2026-11-22T12:00:00.000000000Z stderr F noise\n"
        b"2026-11-22T12:00:00.000000000Z stdout F b\n"
    )

    shown = render(LogOptions(timestamps=True, stream=Stream.STDOUT), log)

    assert shown == b"2026-11-22T12:00:00.000000000Z ab\n"


def test_an_endless_line_is_dropped_in_bounded_memory() -> None:
    """A line beyond the bound is skipped to its end, and what follows shows."""
    renderer = reading.Renderer(LogOptions())
    start = b"2026-11-22T12:00:00Z stdout F "
    shown = [renderer.feed(start)]
    held = []
    for _ in range(64):
        shown.append(renderer.feed(b"x" * 65536))
        held.append(len(renderer._rest))
    shown.append(renderer.feed(b"\n" + start + b"after\n"))

    assert b"".join(shown) == b"after\n"
    assert max(held) <= reading.MAX_RECORD_BYTES


def test_done_once_nothing_more_can_show() -> None:
    """A reached limit or a complete tail says that reading may stop."""
    limited = reading.Renderer(LogOptions(limit_bytes=4))
    tailed = reading.Renderer(LogOptions(tail_lines=1))
    limited.feed(LOG)
    tailed.feed(LOG)

    assert limited.done
    assert tailed.done
    assert not reading.Renderer(LogOptions(tail_lines=0, follow=True)).done


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["stdout", "stderr"]),
        st.sampled_from(["F", "P"]),
        st.from_regex(re.compile(rb"[^\n]{0,12}"), fullmatch=True),
    ),
    max_size=12,
)
OPTIONS = st.builds(
    LogOptions,
    tail_lines=st.none() | st.integers(0, 14),
    limit_bytes=st.none() | st.integers(1, 200),
    since_ns=st.none() | st.integers(0, 6).map(lambda each: (NOON + each) * 10**9),
    timestamps=st.booleans(),
    stream=st.sampled_from(Stream),
)


def naive(records: list[tuple[int, str, str, bytes]], options: LogOptions) -> bytes:
    """Show records the obvious way: everything in memory, a rule a line."""
    if options.tail_lines is not None:
        records = records[: options.tail_lines]  # the file's end was found before
    wanted = [each for each in records if options.stream in ("All", each[1].capitalize())]
    out, begins = b"", True
    for second, _, tag, text in wanted:
        time = f"2026-11-22T12:00:0{second}.000000000Z ".encode()
        shown = text + (b"\n" if tag == "F" else b"")
        if options.since_ns is None or (NOON + second) * 10**9 >= options.since_ns:
            out += time + shown if options.timestamps and begins else shown
        begins = shown == b"" or shown.endswith(b"\n")
    return out[: options.limit_bytes]


@given(RECORDS, OPTIONS, st.lists(st.integers(0, 400), max_size=4))
def test_agrees_with_a_naive_model(
    records: list[tuple[int, str, str, bytes]], options: LogOptions, cuts: list[int]
) -> None:
    """Any options on any records show what a simple model shows."""
    log = b"".join(
        f"2026-11-22T12:00:0{second}Z {stream} {tag} ".encode() + text + b"\n"
        for second, stream, tag, text in records
    )
    edges = [0, *sorted(min(each, len(log)) for each in cuts), len(log)]
    pieces = [log[a:b] for a, b in itertools.pairwise(edges)]

    assert naive(records, options) == render(options, *pieces)
