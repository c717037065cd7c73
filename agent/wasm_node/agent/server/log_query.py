"""
The query of `/containerLogs`, decoded and checked as the kubelet does it.

Decoding follows apimachinery's conversions (any value of a flag but `false`
and `0` is true), checking follows ValidatePodLogOptions. The API server has
checked the same before; Prometheus and people with curl have not.
"""

import datetime as dt
import re
from collections.abc import Mapping

from wasm_node.agent import errors
from wasm_node.agent.model import log_options

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_INT64 = range(-(2**63), 2**63)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Invalid(errors.BadInput):
    """It can be read, but not be done."""


def parse(query: Mapping[str, str], *, now_ns: int) -> log_options.LogOptions:
    """
    Return the options; `sinceSeconds` counts back from `now_ns` (unix).

    Raises:
        Invalid: a value is out of range, or two exclude each other.
        BadInput: a value cannot be decoded.
    """
    tail = query.get("tail") or query.get("tailLines")  # `tail` is the oldest clients' word
    since_s = _integer("sinceSeconds", query.get("sinceSeconds"))
    since_time = query.get("sinceTime")
    options = log_options.LogOptions(
        follow=_flag(query.get("follow")),
        previous=_flag(query.get("previous")),
        timestamps=_flag(query.get("timestamps")),
        tail_lines=None if query.get("tail") == "all" else _integer("tailLines", tail),
        limit_bytes=_integer("limitBytes", query.get("limitBytes")),
        since_ns=_time(since_time) if since_s is None else now_ns - since_s * 10**9,
        stream=_stream(query.get("stream")),
    )
    if since_s is not None and since_time is not None:
        raise _invalid("at most one of `sinceTime` or `sinceSeconds` may be specified")
    if since_s is not None and since_s < 1:
        raise _invalid(f"sinceSeconds is {since_s}: must be greater than 0")
    if options.tail_lines is not None and options.tail_lines < 0:
        raise _invalid(f"tailLines is {tail}: must be greater than or equal to 0")
    if options.limit_bytes is not None and options.limit_bytes < 1:
        raise _invalid(f"limitBytes is {options.limit_bytes}: must be greater than 0")
    if options.tail_lines is not None and options.stream is not log_options.Stream.ALL:
        raise _invalid("`tailLines` and specific `stream` are mutually exclusive for now")
    return options


def _flag(text: str | None) -> bool:
    return text is not None and text.lower() not in ("false", "0")


def _integer(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if _INTEGER.fullmatch(text) is None or int(text) not in _INT64:
        raise _undecodable(f"{name} is {text!r}, not a 64-bit integer")
    return int(text)


def _time(text: str | None) -> int | None:
    """Return unix nanoseconds; empty and `null` are no time."""
    if text in (None, "", "null"):
        return None
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        seconds, fraction, zone = found.groups()
        moment = dt.datetime.fromisoformat(seconds + zone) - _EPOCH
    except ValueError as error:
        raise _undecodable(f"sinceTime is {text!r}, not an RFC 3339 time") from error
    whole = moment.days * 86400 + moment.seconds
    return whole * 10**9 + int((fraction or "0")[:9].ljust(9, "0"))


def _stream(text: str | None) -> log_options.Stream:
    try:
        return log_options.Stream(text or "All")
    except ValueError as error:
        raise _invalid(f"stream is {text!r}: use All, Stdout or Stderr") from error


def _undecodable(why: str) -> errors.BadInput:
    return errors.BadInput(f"Unable to decode query: {why}.", reason="BadRequest")


def _invalid(why: str) -> Invalid:
    return Invalid(f"Invalid request: {why}.", reason="Invalid")
