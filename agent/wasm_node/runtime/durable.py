"""Small files that are whole or absent: written beside, then renamed."""

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """
    Replace a file's content at once.

    Not fsynced: it outlives every process; what must outlive a power cut is in
    the API server as well.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    os.replace(beside, path)  # noqa: PTH105  # the same, without another Path


def read(path: Path) -> bytes | None:
    """Return a file's content; None if there is none, or no such process."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
