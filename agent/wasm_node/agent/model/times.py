"""Kubernetes' times: RFC 3339 in UTC, whole seconds (metav1.Time)."""

import datetime as dt


def rfc3339(moment: float) -> str:
    """Return unix seconds as `2026-11-22T23:20:05Z`."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: float) -> str:
    """Return unix seconds as metav1.MicroTime: six digits after the point."""
    made = dt.datetime.fromtimestamp(moment, dt.UTC)
    return made.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unix(text: str) -> float:
    """
    Return unix seconds.

    Raises:
        ValueError: it is not a time.
    """
    return dt.datetime.fromisoformat(text).timestamp()
