"""Uses sockets as it is told by its arguments: a verb, an address, a port."""

import encodings.idna  # noqa: F401  # what is imported now is there later: names need it
import socket
import sys

from wit_world import exports


def _tcp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def _connect(host: str, port: str) -> str:
    with _tcp() as out:
        out.connect((host, int(port)))
        out.sendall(b"ping")
        return out.recv(100).decode()


def _listen(port: str) -> str:
    with _tcp() as door:
        door.bind(("0.0.0.0", int(port)))  # noqa: S104  # what a server does
        door.listen()
        print("listening", flush=True)
        peer, _ = door.accept()
        with peer:
            peer.sendall(peer.recv(100))
    return "answered"


def _send(host: str, port: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"ping", (host, int(port)))
        return out.recvfrom(100)[0].decode()


def _hear(port: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("0.0.0.0", int(port)))  # noqa: S104  # what a server does
        print("listening", flush=True)
        return door.recvfrom(100)[0].decode()


def _resolve(name: str) -> str:
    return str(socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4][0])


class Run(exports.Run):
    """What the node calls."""

    def run(self) -> None:
        """Do it, and print what came of it."""
        verbs = {
            "connect": _connect,
            "hear": _hear,
            "listen": _listen,
            "resolve": _resolve,
            "send": _send,
        }
        try:
            print(verbs[sys.argv[1]](*sys.argv[2:]))
        except OSError as error:
            print(f"{type(error).__name__}: {error}")
