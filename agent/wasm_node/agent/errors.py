"""
Errors by behaviour: what the caller should do, not where it went wrong.

Every foreign error becomes one of these at the boundary where it appears
(`raise ... from`). `reason` is the CamelCase word that ends up in a pod's
status or an event; the text is for a person: what, where, what to do.
"""

import contextlib
from collections.abc import Iterator


class NodeError(Exception):
    """
    Base of all errors that may be shown to a user.

    Attributes:
        reason: the CamelCase word for status and events.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Retryable(NodeError):
    """The world was not ready: the same call may go through later."""


class Throttled(Retryable):
    """
    The other side asks for a pause.

    Attributes:
        after_s: how long, in seconds.
    """

    def __init__(self, message: str, *, reason: str, after_s: float) -> None:
        super().__init__(message, reason=reason)
        self.after_s = after_s


class Outdated(Retryable):
    """It was decided by what is no more so: look, and decide anew."""


class Unauthorized(Retryable):
    """The other side does not know us: with this identity it never will."""


class NotFound(NodeError):
    """The thing named does not exist (yet)."""


class BadInput(NodeError):
    """The user's input cannot be used as it is; only a change of it helps."""


class GaveUp(NodeError):
    """We stopped trying; the text says after what."""


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """
    Give a NodeError of the block as it is, not as the group of a TaskGroup.

    Not by `except*`: before Python 3.11.4 that wraps again what it raises.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        failures, others = group.split(NodeError)
        if failures is None or others is not None:
            raise
        raise _first(failures) from group


def _first(failures: BaseExceptionGroup[NodeError]) -> NodeError:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
