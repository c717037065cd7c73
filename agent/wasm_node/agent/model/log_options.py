"""Which part of a container's log is asked for: the API's PodLogOptions."""

import dataclasses
import enum


class Stream(enum.StrEnum):
    """Which of a container's two output streams."""

    ALL = "All"
    STDOUT = "Stdout"
    STDERR = "Stderr"


@dataclasses.dataclass(frozen=True)
class LogOptions:
    """
    What to show of one container's log.

    Attributes:
        follow: go on until the attempt is over.
        previous: of the attempt before the present one.
        tail_lines: only this many lines from the end; 0 or more.
        limit_bytes: end after this many bytes of output; 1 or more.
        since_ns: only lines of this moment or later; unix nanoseconds.
        timestamps: each line begins with its time.
        stream: of this stream only; not together with `tail_lines`.
    """

    follow: bool = False
    previous: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_ns: int | None = None
    timestamps: bool = False
    stream: Stream = Stream.ALL
