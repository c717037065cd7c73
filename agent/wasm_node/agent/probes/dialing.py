"""Connections for probes; those not made, in the words of a kubelet (Go's)."""

import asyncio
import contextlib
import os
import socket
import ssl

from wasm_node.agent.model import probe

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class UnreachableError(Exception):
    """There is no connection; the text says where, and why."""


async def connect(at: probe.Endpoint, tls: ssl.SSLContext | None = None) -> Connection:
    """
    Connect.

    Raises:
        UnreachableError: it cannot be done.
    """
    name = at.host if tls else None
    try:
        if at.socket is not None:
            with contextlib.suppress(FileNotFoundError):
                return await asyncio.open_unix_connection(at.socket, ssl=tls, server_hostname=name)
        return await asyncio.open_connection(at.host, at.port, ssl=tls, server_hostname=name)
    except (socket.gaierror, ValueError) as error:  # a name that none can have, too
        raise UnreachableError(f"dial tcp: lookup {at.host}: no such host") from error
    except ssl.SSLError as error:
        raise UnreachableError(f"tls: {error.reason}") from error
    except OSError as error:
        raise UnreachableError(f"dial tcp {shown(at)}: connect: {why(error)}") from error


def shown(at: probe.Endpoint) -> str:
    """Return `host:port`, an IPv6 address in brackets."""
    return f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}"


def why(error: OSError) -> str:
    """Say what the system said, and nothing of Python's."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
