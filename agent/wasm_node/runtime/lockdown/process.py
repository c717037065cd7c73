"""
What a process can ask of the kernel about itself, through prctl.

The order in a worker matters. NB: a change of uid clears the parent-death
signal, so `die_with_parent` comes after `become`; and both come before any
thread is started, since prctl and setresuid's plain calls are per thread.
"""

import contextlib
import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Make this process the parent of all descendants that lose theirs."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send a signal when the parent dies; exit if it has."""
    _prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os._exit(1)


def set_name(name: str) -> None:
    """Name this process for `ps`; 15 bytes are kept."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15])


def become(uid: int | None) -> None:
    """Give up all privileges for good: run as this user, or as we are."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def limit(which: int, most: int) -> None:
    """Lower a resource limit for good, as far as it is not lower already."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(which, (most, most))


def allow_many_files() -> None:
    """Raise the limit of descriptors as far as this process may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor that is not named."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # no Path per fork
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))


def thread_count() -> int:
    """Return how many threads this process has."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # no Path per fork


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot set prctl option {option}: {os.strerror(number)}")
