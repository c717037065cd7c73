"""
Ports of loopback that test beds side by side do not take from each other.

A port that the kernel hands out may be taken by anybody between the look and
the use, and by any outgoing connection while a server is stopped on purpose.
So ports come from below the kernel's ephemeral range, and each is claimed by
an abstract socket's name: it leaves no file, ends with its holder, and is
seen by exactly those who share these ports, the network namespace.
"""

import contextlib
import random
import socket
from collections.abc import Iterator

_RANGE = range(20000, 32000)


@contextlib.contextmanager
def claim() -> Iterator[int]:
    """
    Give a free TCP port of 127.0.0.1 that no other caller gets meanwhile.

    Raises:
        OSError: no port of the range is free.
    """
    for port in random.SystemRandom().sample(_RANGE, len(_RANGE)):
        with socket.socket(socket.AF_UNIX) as name:
            try:
                name.bind(f"\0wasm-node/test-bed/port/{port}")
            except OSError:
                continue
            if _is_free(port):
                yield port
                return
    raise OSError(f"cannot claim a port: all of {_RANGE.start}-{_RANGE.stop - 1} are taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
