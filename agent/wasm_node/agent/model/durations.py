"""
Durations as Kubernetes writes them in its own settings: `90s`, `1m30s`, `5m`.

The grammar is that of Go's time.ParseDuration, without signs and without the
units below a millisecond.
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
