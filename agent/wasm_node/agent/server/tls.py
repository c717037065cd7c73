"""
The server's TLS, whose certificates may change while it serves.

Connections are accepted in one context, and each handshake goes on in the
newest one, built apart from the files of that moment: a handshake never sees
half of a change, connections that exist keep theirs, and a CA that was taken
out of the file no longer counts. There are no session tickets: a resumed
session would skip the check of its client's certificate.
"""

import logging
import ssl
from pathlib import Path

from wasm_node.agent import errors

logger = logging.getLogger(__name__)


class ServingTls:
    """
    TLS from a certificate, its key and the clients' CA, all PEM files.

    Files that are `awaited` need not be there yet: as a kubelet that waits for
    its serving certificate, it refuses every handshake until they are.

    Attributes:
        context: to accept connections in.
    """

    def __init__(
        self, certificate: Path, key: Path, client_ca: Path, *, awaited: bool = False
    ) -> None:
        self._files = (certificate, key, client_ca)
        self._stamps: list[tuple[int, int, int] | None] = [None] * len(self._files)
        self._newest: ssl.SSLContext | None = None
        self._refused = False
        self.context = _blank()
        self.context.sni_callback = self._use_newest  # called without SNI too
        if awaited:
            self.reload()
        else:
            self._stamps, self._newest = self._stamp(), self._load()

    def reload(self) -> bool:
        """
        Take changed files over, for connections from now on; blocks.

        Files that do not fit together (yet) leave everything as it is.
        """
        stamps = self._stamp()
        if stamps == self._stamps or (self._newest is None and None in stamps):
            return False
        try:
            self._newest = self._load()
        except errors.BadInput as error:
            kept = "Keeping the certificate in use" if self._newest else "Not serving yet"
            logger.warning("%s: %s", kept, error)
            return False
        self._stamps = stamps
        logger.info("Serving with the new certificate %s", self._files[0])
        return True

    def _use_newest(
        self,
        connection: ssl.SSLObject | ssl.SSLSocket,
        _name: str | None,
        _accepted: ssl.SSLContext,
    ) -> int | None:
        if self._newest is None:
            if not self._refused:
                self._refused = True
                logger.warning(
                    "Refusing connections to the kubelet API: there is no serving certificate or "
                    "no client CA yet (%s)",
                    ", ".join(map(str, self._files)),
                )
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._newest
        return None

    def _load(self) -> ssl.SSLContext:
        certificate, key, client_ca = self._files
        context = _blank()
        try:
            context.load_cert_chain(certificate, key)
            context.load_verify_locations(client_ca)
        except OSError as error:  # ssl.SSLError too
            names = ", ".join(map(str, self._files))
            raise errors.BadInput(
                f"cannot serve the kubelet API with {names}: {error}", reason="InvalidCertificate"
            ) from error
        return context

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        return [_stamp_of(each) for each in self._files]


def _blank() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _stamp_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
