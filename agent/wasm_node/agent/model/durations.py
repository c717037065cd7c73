"""
Durations as Kubernetes writes them in settings and messages: `90s`, `1m30s`.

The grammar is that of Go's time.ParseDuration, without signs and without the
units below a millisecond; what is shown is as Duration.String of that.
"""

import re

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"(\d+(?:\.\d+)?)(ms|h|m|s)"
_WHOLE = re.compile(f"(?:{_PART})+")


def parse(text: str) -> float:
    """
    Return the seconds.

    Raises:
        ValueError: it is no duration.
    """
    if text == "0":
        return 0.0
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"cannot read {text!r} as a duration: use a form like 90s, 1m30s or 5m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, text))


def shown(seconds: float) -> str:
    """Return it as Go does, to the millisecond: `43ms`, `1.5s`, `5m0s`."""
    whole_ms = int(round(seconds * 1000, 3))
    if 0 < whole_ms < 1000:
        return f"{whole_ms}ms"
    minutes, rest_ms = divmod(whole_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{rest_ms // 1000}.{rest_ms % 1000:03d}".rstrip("0").rstrip(".")
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
