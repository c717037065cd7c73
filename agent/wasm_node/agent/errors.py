"""
Errors by behaviour: what the caller should do, not where it went wrong.

Every foreign error becomes one of these at the boundary where it appears
(`raise ... from`). `reason` is the CamelCase word that ends up in a pod's
status or an event; the text is for a person: what, where, what to do.
"""


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


class NotFound(NodeError):
    """The thing named does not exist (yet)."""


class BadInput(NodeError):
    """The user's input cannot be used as it is; only a change of it helps."""


class GaveUp(NodeError):
    """We stopped trying; the text says after what."""


def only(failures: BaseExceptionGroup[NodeError]) -> NodeError:
    """Return the first error of a group: what a TaskGroup makes of one."""
    first = failures.exceptions[0]
    return only(first) if isinstance(first, BaseExceptionGroup) else first
