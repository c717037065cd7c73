"""
The file in which a guest may leave its last words (terminationMessagePath).

WASI knows no mount of a single file: a guest is given directories. So the file
lies alone in a directory of its own in which nobody may make, rename or remove
anything; the guest sees that, and may write the one file, which is its user's.
It is read once its guest has ended, by the rules of getTerminationMessage in
kuberuntime_container.go, through no link, and removed. Till then it may grow:
it counts as what the pod has on disk (`volumes`), for which pods are evicted.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

_MOST_BYTES = 4096
_CLOSED = 0o555
_OPEN = 0o700


def make(directory: Path, name: str, user: int | None) -> None:
    """
    Make the file for a guest of this user (None: ours); what is there stays.

    Raises:
        OSError: it cannot be made, or that is no name of a file.
    """
    if name in {"", ".", ".."} or {"/", "\0"} & set(name):
        raise OSError(errno.EINVAL, f"cannot use {name!r} as the name of a file")
    with contextlib.suppress(FileExistsError):
        directory.mkdir(_OPEN)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(directory / name, flags, 0o600)  # there already: the start is sent again
    try:
        if user is not None:
            os.fchown(file, user, user)
    finally:
        os.close(file)
    directory.chmod(_CLOSED)


def read(file: Path) -> str:
    """Return what it ends with; nothing where there is none."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(file, flags), "rb") as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                return ""
            opened.seek(max(0, found.st_size - _MOST_BYTES))
            return opened.read(_MOST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"Error on reading termination log: {error.strerror}"


def remove(directory: Path) -> None:
    """Remove it and what is in it; gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        directory.chmod(_OPEN)
        for each in directory.iterdir():
            each.unlink()
        directory.rmdir()
