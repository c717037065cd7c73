"""
The sockets on which guests are asked: shared ports, and two private doors each.

A port belongs to one owner (a Deployment, say): its attempts accept from one
listener, so that a replica that comes or goes loses no connection. A listener,
of one address or of all, lives as long as an attempt that uses it. So that it
outlives the supervisor too, one message with all of them lies in a socket pair
of which init holds both ends; it is replaced by sending the next before taking
off the last.
"""

import array
import dataclasses
import errno
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from wasm_node.protocol import layout, records, settings
from wasm_node.runtime import uids

_BACKLOG = 4096
_MOST_PORTS = 250
"""One message takes 253 descriptors (SCM_MAX_FD)."""
_MESSAGE_BYTES = 1 << 17


_Where: TypeAlias = tuple[str, int]
"""An address, empty for every one there is, and a port."""
_Kept: TypeAlias = tuple[str, int, str, socket.socket]


class PortTaken(Exception):
    """Somebody else's; the text says whose, and what to do."""


@dataclasses.dataclass(eq=False)
class _Port:
    owner: str
    listener: socket.socket
    users: set[records.AttemptId] = dataclasses.field(default_factory=set)


class Listeners:
    """All listeners of this runtime."""

    def __init__(
        self, wanted: settings.RuntimeSettings, kept: tuple[socket.socket, socket.socket]
    ) -> None:
        self._wanted = wanted
        self._store = _Store(*kept)
        self._ports = {
            (address, port): _Port(owner, listener)
            for address, port, owner, listener in self._store.adopt()
        }
        self._doors = wanted.run / layout.WORKERS
        self._doors.mkdir(exist_ok=True)
        uids.give_to_agent(self._doors, wanted)

    def open(self, each: records.AttemptId, http: records.Http) -> list[int]:
        """
        Return descriptors for its worker: guest, admin, then its ports.

        Raises:
            PortTaken: a port is another owner's or program's, or there are
                too many.
            OSError: the host denies a port; the text names it.
        """
        places = self._places(http)
        for where in places:
            self._check(where, http.owner)
        new = [where for where in places if where not in self._ports]
        for where in new:
            self._ports[where] = _Port(http.owner, self._listen(where))
        if new:
            self._keep()
        self._use(each, http)
        made = [self._ports[where].listener for where in places]
        doors = [self._door(path) for path in self._paths(each)]
        return [*(door.detach() for door in doors), *(os.dup(door.fileno()) for door in made)]

    def adopt(self, attempts: Mapping[records.AttemptId, records.Http]) -> None:
        """Keep what these use, and nothing else that was left to us."""
        for port in self._ports.values():
            port.users.clear()
        for each, http in attempts.items():
            self._use(each, http)
        theirs = {path for each in attempts for path in self._paths(each)}
        for path in set(self._doors.iterdir()) - theirs:
            path.unlink()
        self._close_unused()

    def close(self, each: records.AttemptId) -> None:
        """Let go of what was an attempt's, and of ports that nobody uses."""
        for path in self._paths(each):
            path.unlink(missing_ok=True)
        for port in self._ports.values():
            port.users.discard(each)
        self._close_unused()

    def _places(self, http: records.Http) -> list[_Where]:
        """List where it listens, without what is part of another place."""
        own = self._wanted.address
        found = [(own, port) for port in http.ports]
        found += [(each.address or own, each.port) for each in http.host_ports]
        return [
            (address, port)
            for address, port in dict.fromkeys(found)
            if not address or ("", port) not in found
        ]

    def _use(self, each: records.AttemptId, http: records.Http) -> None:
        for where in self._places(http):
            if where in self._ports:
                self._ports[where].users.add(each)

    def _close_unused(self) -> None:
        unused = [where for where, held in self._ports.items() if not held.users]
        for where in unused:
            self._ports.pop(where).listener.close()
        if unused:
            self._keep()

    def _check(self, where: _Where, owner: str) -> None:
        address, port = where
        for (other, number), held in self._ports.items():
            meets = number == port and (other == address or not other or not address)
            if meets and (held.owner != owner or other != address):
                raise PortTaken(
                    f"cannot listen on port {port} for {owner}: on this node it is {held.owner}'s, "
                    "and pods of a node share one IP; give one of the two another containerPort "
                    "(or hostPort), or keep them on different nodes by pod anti-affinity"
                )
        if where not in self._ports and len(self._ports) >= _MOST_PORTS:
            raise PortTaken(f"cannot listen on port {port}: this node has {_MOST_PORTS} in use")

    def _listen(self, where: _Where) -> socket.socket:
        address, port = where
        family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
        try:
            return socket.create_server(
                (address, port),
                family=family,
                backlog=_BACKLOG,
                dualstack_ipv6=not address,
            )
        except OSError as error:
            shown = f"{address or 'every address'}, port {port}"
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(
                    f"cannot listen on {shown}: another program of this host does; give the "
                    "container another containerPort (wasm-node run FILE: --port)"
                ) from error
            raise OSError(error.errno, f"cannot listen on {shown}: {error.strerror}") from error

    def _paths(self, each: records.AttemptId) -> tuple[Path, Path]:
        run = self._wanted.run
        return layout.guest_socket(run, each), layout.admin_socket(run, each)

    def _door(self, path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX)
        door.setblocking(False)
        mask = os.umask(0o177)
        try:
            door.bind(str(path))
        finally:
            os.umask(mask)
        uids.give_to_agent(path, self._wanted)
        door.listen(128)
        return door

    def _keep(self) -> None:
        self._store.keep([(*at, held.owner, held.listener) for at, held in self._ports.items()])


class _Store:
    """One message with all listeners, in a queue that outlives us."""

    def __init__(self, into: socket.socket, out: socket.socket) -> None:
        self._into = into
        self._out = out
        self._me = f"{os.getpid()}-{time.monotonic_ns()}"
        self._generation = 0
        self._holds = False
        into.setblocking(False)
        out.setblocking(False)

    def adopt(self) -> list[_Kept]:
        """Return what the newest message holds, and leave only that."""
        newest: list[_Kept] = []
        while (found := self._peek()) is not None:
            who, generation, listeners = found
            if who == self._me and generation == self._generation:
                for *_, twice in listeners:
                    twice.close()
                break
            if generation > self._generation:
                # NB: sent anew before it is taken off: either could be our end.
                newest, listeners = listeners, newest
                self._generation = generation
                self._send(newest)
            for *_, older in listeners:
                older.close()
            self._out.recv(1)
        return newest

    def keep(self, listeners: list[_Kept]) -> None:
        """Replace the message."""
        had = self._holds
        self._generation += 1
        self._send(listeners)
        if had:
            self._out.recv(1)

    def _send(self, listeners: list[_Kept]) -> None:
        what = [self._me, self._generation, [named for *named, _ in listeners]]
        fds = [listener.fileno() for *_, listener in listeners]
        socket.send_fds(self._into, [json.dumps(what).encode()], fds)
        self._holds = True

    def _peek(self) -> tuple[str, int, list[_Kept]] | None:
        # NB: socket.recv_fds of Python 3.11 has flags, and heeds them not.
        fds = array.array("i")
        room = socket.CMSG_LEN(_MOST_PORTS * fds.itemsize)
        flags = socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC
        try:
            raw, beside, _, _ = self._out.recvmsg(_MESSAGE_BYTES, room, flags)
        except BlockingIOError:
            return None
        for _, _, data in beside:
            fds.frombytes(data)
        who, generation, ports = json.loads(raw)
        sockets = (socket.socket(fileno=fd) for fd in fds)
        return who, generation, [(*port, one) for port, one in zip(ports, sockets, strict=True)]
