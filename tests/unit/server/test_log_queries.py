"""The query of /containerLogs: decoded and checked as a kubelet does."""

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model.log_options import LogOptions, Stream
from wasm_node.agent.server import log_query

NOW = 1795348800 * 10**9  # 2026-11-22T12:00:00Z


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({}, LogOptions()),
        ({"follow": "true", "previous": "1"}, LogOptions(follow=True, previous=True)),
        ({"follow": "", "timestamps": "no"}, LogOptions(follow=True, timestamps=True)),
        ({"follow": "FALSE", "timestamps": "0"}, LogOptions()),
        ({"tailLines": "0"}, LogOptions(tail_lines=0)),
        ({"tailLines": "+12"}, LogOptions(tail_lines=12)),
        ({"tail": "5", "tailLines": "9"}, LogOptions(tail_lines=5)),
        ({"tail": "all", "tailLines": "9"}, LogOptions()),
        ({"limitBytes": "1"}, LogOptions(limit_bytes=1)),
        ({"sinceSeconds": "60"}, LogOptions(since_ns=NOW - 60 * 10**9)),
        ({"sinceTime": "2026-11-22T12:00:00Z"}, LogOptions(since_ns=NOW)),
        ({"sinceTime": "2026-11-22T12:00:00.000000007Z"}, LogOptions(since_ns=NOW + 7)),
        ({"sinceTime": "2026-11-22T13:30:00.5+01:30"}, LogOptions(since_ns=NOW + 5 * 10**8)),
        ({"sinceTime": ""}, LogOptions()),
        ({"sinceTime": "null"}, LogOptions()),
        ({"sinceTime": "0001-01-01T00:00:00Z"}, LogOptions(since_ns=-62135596800 * 10**9)),
        ({"stream": "All", "tailLines": "1"}, LogOptions(tail_lines=1)),
        ({"stream": "Stderr"}, LogOptions(stream=Stream.STDERR)),
        ({"insecureSkipTLSVerifyBackend": "true", "unknown": "x"}, LogOptions()),
    ],
)
def test_decoded(query: dict[str, str], options: LogOptions) -> None:
    """Each parameter means what it means to a kubelet."""
    assert log_query.parse(query, now_ns=NOW) == options


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "ten"},
        {"tailLines": ""},
        {"tailLines": "1_0"},
        {"tailLines": " 1"},
        {"tailLines": "\N{ARABIC-INDIC DIGIT ONE}"},
        {"limitBytes": "9223372036854775808"},
        {"sinceSeconds": "1.5"},
        {"sinceTime": "yesterday"},
        {"sinceTime": "2026-11-31T12:00:00Z"},
        {"sinceTime": "2026-11-22T12:00:00"},
    ],
)
def test_undecodable(query: dict[str, str]) -> None:
    """What cannot be decoded is said to be so, by its name."""
    with pytest.raises(errors.BadInput, match=next(iter(query))) as caught:
        log_query.parse(query, now_ns=NOW)

    assert not isinstance(caught.value, log_query.Invalid)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"tailLines": "-1"}, "tailLines is -1: must be greater than or equal to 0"),
        ({"limitBytes": "0"}, "limitBytes is 0: must be greater than 0"),
        ({"sinceSeconds": "0"}, "sinceSeconds is 0: must be greater than 0"),
        (
            {"sinceSeconds": "1", "sinceTime": "2026-11-22T12:00:00Z"},
            "at most one of `sinceTime` or `sinceSeconds`",
        ),
        ({"stream": "stdout"}, "stream is 'stdout': use All, Stdout or Stderr"),
        (
            {"stream": "Stdout", "tailLines": "1"},
            "`tailLines` and specific `stream` are mutually exclusive",
        ),
    ],
)
def test_invalid(query: dict[str, str], words: str) -> None:
    """What can be read but not be done is invalid, and says why."""
    with pytest.raises(log_query.Invalid, match=words):
        log_query.parse(query, now_ns=NOW)
