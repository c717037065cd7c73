"""
Writing to descriptors that others gave us: all of it, as slowly as they read.

They may be in non-blocking mode, which is theirs to choose: whoever else holds
the same file would notice if we changed it.
"""

import os
import select


def write(fd: int, data: bytes) -> None:
    """
    Write all of the data, waiting for room.

    Raises:
        OSError: it cannot be written; BrokenPipeError: nobody reads.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
