"""
Kubernetes quantities: `100m`, `64Mi`, `1.5`, `2e3`.

The grammar is that of apimachinery's pkg/api/resource: a decimal number, then
a binary suffix (Ki...), a decimal one (n u m k M...) or an exponent.
"""

import decimal
import re

_SUFFIXES = {
    "n": decimal.Decimal("1e-9"), "u": decimal.Decimal("1e-6"), "m": decimal.Decimal("1e-3"),
    "": decimal.Decimal(1), "k": decimal.Decimal(10**3), "M": decimal.Decimal(10**6),
    "G": decimal.Decimal(10**9), "T": decimal.Decimal(10**12), "P": decimal.Decimal(10**15),
    "E": decimal.Decimal(10**18), "Ki": decimal.Decimal(2**10), "Mi": decimal.Decimal(2**20),
    "Gi": decimal.Decimal(2**30), "Ti": decimal.Decimal(2**40), "Pi": decimal.Decimal(2**50),
    "Ei": decimal.Decimal(2**60),
}  # fmt: skip
_FORM = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:(?P<exponent>[eE][+-]?\d+)|(?P<suffix>[a-zA-Z]*))"
)


def parse(text: str | int | float) -> decimal.Decimal:
    """
    Return the exact value.

    Raises:
        ValueError: it is not a quantity.
    """
    match = _FORM.fullmatch(str(text).strip())
    if match is None or (match["suffix"] or "") not in _SUFFIXES:
        raise ValueError(f"cannot read {text!r} as a quantity: use a form like 100m, 64Mi or 1.5")
    return (
        decimal.Decimal(match["number"] + (match["exponent"] or ""))
        * _SUFFIXES[match["suffix"] or ""]
    )


def ceiling(text: str | int | float) -> int:
    """
    Return the value rounded up, as Kubernetes rounds (bytes, whole things).

    Raises:
        ValueError: it is not a quantity.
    """
    return int(parse(text).to_integral_value(rounding=decimal.ROUND_CEILING))


def millis(text: str | int | float) -> int:
    """
    Return thousandths, rounded up: `0.1` is 100.

    Raises:
        ValueError: it is not a quantity.
    """
    return int((parse(text) * 1000).to_integral_value(rounding=decimal.ROUND_CEILING))


def binary(amount: int) -> str:
    """Write bytes as Kubernetes does: `64Mi`, by the largest unit that fits."""
    return _written(amount, 2**10, ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))


def plain(amount: int) -> str:
    """Write numbers as Kubernetes does: `5k`, by the largest unit that fits."""
    return _written(amount, 10**3, ("", "k", "M", "G", "T", "P", "E"))


def _written(amount: int, base: int, suffixes: tuple[str, ...]) -> str:
    step = 0
    while amount and amount % base == 0 and step < len(suffixes) - 1:
        amount //= base
        step += 1
    return f"{amount}{suffixes[step]}"
