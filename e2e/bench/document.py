"""Where figures are kept: between two comments of docs/benchmarks.md."""

import datetime as dt
import os
from pathlib import Path

from e2e.bench import figures

_DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def write(place: str, text: str) -> None:
    """Put a text between `<!-- PLACE -->` and `<!-- end of PLACE -->`."""
    begin, end = f"<!-- {place} -->", f"<!-- end of {place} -->"
    before, _, rest = _DOCUMENT.read_text().partition(begin)
    _DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


def today() -> str:
    """Return the date of the figures."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def machine() -> str:
    """Describe what they were taken on, and how busy it was already."""
    return f"{os.cpu_count()} cores, {figures.memory_gib():.0f} GiB, load {os.getloadavg()[0]:.1f}"
