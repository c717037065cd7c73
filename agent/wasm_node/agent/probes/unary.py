"""
One unary gRPC call over HTTP/2 without TLS: the protocol, without a socket.

By h2, which is typed, and imported in 20 ms and 1.4 MiB; grpcio would be 10 MiB
and threads of its own for a question of two fields. Only `probes.grpc` imports
this, and only for a pod that has such a probe. Codes and words of what goes
wrong are those of grpc-go, which a kubelet asks with. All that arrives is
bounded: the stream's window is never opened again, headers are h2's 64 KiB.
"""

import dataclasses
import enum
import http
from collections.abc import Iterable
from urllib import parse

from h2 import config, connection, errors, events, exceptions

_MOST_BYTES = 16 * 2**10
"""Of a message; the window is larger."""
_FLOOD_BYTES = 2**20
"""Of all frames together."""
_PREFIX_BYTES = 5


class Code(enum.IntEnum):
    """The codes of grpc/codes, by their names there."""

    OK = 0
    Canceled = 1
    Unknown = 2
    InvalidArgument = 3
    DeadlineExceeded = 4
    NotFound = 5
    AlreadyExists = 6
    PermissionDenied = 7
    ResourceExhausted = 8
    FailedPrecondition = 9
    Aborted = 10
    OutOfRange = 11
    Unimplemented = 12
    Internal = 13
    Unavailable = 14
    DataLoss = 15
    Unauthenticated = 16


_OF_HTTP = {
    400: Code.Internal,
    401: Code.Unauthenticated,
    403: Code.PermissionDenied,
    404: Code.Unimplemented,
    429: Code.Unavailable,
    502: Code.Unavailable,
    503: Code.Unavailable,
    504: Code.Unavailable,
}
_OF_RESET = {
    errors.ErrorCodes.FLOW_CONTROL_ERROR: Code.ResourceExhausted,
    errors.ErrorCodes.REFUSED_STREAM: Code.Unavailable,
    errors.ErrorCodes.CANCEL: Code.Canceled,
    errors.ErrorCodes.ENHANCE_YOUR_CALM: Code.ResourceExhausted,
    errors.ErrorCodes.INADEQUATE_SECURITY: Code.PermissionDenied,
}


class RpcError(Exception):
    """The call came to nothing; the text is grpc-go's."""

    def __init__(self, code: int, message: str) -> None:
        known = code in Code.__members__.values()
        word = Code(code).name if known else f"Code({code})"
        super().__init__(f"rpc error: code = {word} desc = {message}")
        self.code = code
        self.message = message


class NotHttp2Error(Exception):
    """Whoever answers speaks something else."""


@dataclasses.dataclass(frozen=True)
class Request:
    """
    What is asked.

    Attributes:
        authority: whom, as `host:port`.
        path: `/SERVICE/METHOD`.
        agent: who asks.
        message: encoded.
        timeout_s: how long an answer is waited for.
    """

    authority: str
    path: str
    agent: str
    message: bytes
    timeout_s: float


class Call:
    """
    One call on a connection of its own.

    `hello` is sent first, all that `receive` and `ask` return as it comes.

    Attributes:
        ready: the other side has said hello, too; it may be asked.
        reply: the message that was answered; None: not yet.
    """

    def __init__(self) -> None:
        self.ready = False
        self.reply: bytes | None = None
        self._h2 = connection.H2Connection(config.H2Configuration())
        self._left = _FLOOD_BYTES
        self._body = b""
        self._begun = False

    def hello(self) -> bytes:
        """Return what a connection begins with."""
        self._h2.initiate_connection()
        return self._h2.data_to_send()

    def ask(self, wanted: Request) -> bytes:
        """
        Return the request.

        Raises:
            RpcError: it is larger than the other side takes.
        """
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", wanted.path),
            (":authority", wanted.authority),
            ("content-type", "application/grpc"),
            ("user-agent", wanted.agent),
            ("te", "trailers"),
            ("grpc-timeout", f"{max(1, int(wanted.timeout_s * 1000))}m"),
        ]
        stream = self._h2.get_next_available_stream_id()
        framed = b"\0" + len(wanted.message).to_bytes(4, "big") + wanted.message
        try:
            self._h2.send_headers(stream, headers)
            self._h2.send_data(stream, framed, end_stream=True)
        except exceptions.ProtocolError as error:
            raise RpcError(Code.Internal, f"cannot send the request: {error}") from error
        return self._h2.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """
        Take in what has arrived.

        Raises:
            NotHttp2Error: it is something else.
            RpcError: the call has failed.
        """
        self._left -= len(data)
        if self._left < 0:
            raise RpcError(Code.ResourceExhausted, f"more than {_FLOOD_BYTES} bytes arrived")
        try:
            for event in self._h2.receive_data(data):
                self._hear(event)
        except exceptions.ProtocolError as error:
            raise NotHttp2Error(str(error)) from error
        return self._h2.data_to_send()

    def _hear(self, event: events.Event) -> None:
        match event:
            case events.RemoteSettingsChanged():
                self.ready = True
            case events.ResponseReceived(headers=headers):
                self._begin(_read(headers), over=event.stream_ended is not None)
            case events.DataReceived(data=data):
                self._body += data
                self._check_size()
            case events.TrailersReceived(headers=headers):
                self._end(_read(headers))
            case events.StreamEnded() if self.reply is None:
                self._end({})
            case events.StreamReset(error_code=number):
                raise _reset(number)
            case events.ConnectionTerminated():
                raise RpcError(Code.Unavailable, "the server is closing the connection (GOAWAY)")
            case _:
                pass

    def _begin(self, headers: dict[str, str], *, over: bool) -> None:
        kind = headers.get("content-type", "")
        if not kind.startswith("application/grpc"):
            status = _number(headers[":status"])
            said = f"unexpected HTTP status code received from server: {status} ({_phrase(status)})"
            what = (
                f'transport: received unexpected content-type "{kind}"'
                if kind
                else "malformed header: missing HTTP content-type"
            )
            raise RpcError(_OF_HTTP.get(status, Code.Unknown), f"{said}; {what}")
        if over:
            self._end(headers)

    def _check_size(self) -> None:
        size = int.from_bytes(self._body[1:_PREFIX_BYTES], "big")
        if size > _MOST_BYTES or len(self._body) > _MOST_BYTES + _PREFIX_BYTES:
            text = f"grpc: received message larger than max ({size} vs. {_MOST_BYTES})"
            raise RpcError(Code.ResourceExhausted, text)

    def _end(self, trailers: dict[str, str]) -> None:
        said = trailers.get("grpc-status", str(int(Code.Unknown)))
        code = _number(said)
        if code < 0:
            raise RpcError(Code.Unknown, f"transport: malformed grpc-status: {said[:80]!r}")
        if code != Code.OK:
            raise RpcError(code, parse.unquote(trailers.get("grpc-message", "")))
        self.reply = self._message()

    def _message(self) -> bytes:
        if not self._body:
            why = "received no response message from non-server-streaming RPC"
            raise RpcError(Code.Internal, f"cardinality violation: {why}")
        end = _PREFIX_BYTES + int.from_bytes(self._body[1:_PREFIX_BYTES], "big")
        if len(self._body) < end:
            raise RpcError(Code.Internal, "unexpected EOF")
        if self._body[0]:
            text = "grpc: compressed flag set with identity or empty encoding"
            raise RpcError(Code.Internal, text)
        if len(self._body) > end:
            why = "expected <EOF> for non server-streaming RPCs, but received another message"
            raise RpcError(Code.Internal, f"cardinality violation: {why}")
        return self._body[_PREFIX_BYTES:]


def _read(headers: Iterable[tuple[bytes | str, bytes | str]]) -> dict[str, str]:
    """Return headers as text, the last of each name."""
    return {_text(name): _text(value) for name, value in headers}


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("latin-1")


def _reset(number: int) -> RpcError:
    known = number in errors.ErrorCodes.__members__.values()
    code = _OF_RESET.get(errors.ErrorCodes(number), Code.Internal) if known else Code.Unknown
    word = errors.ErrorCodes(number).name if known else str(number)
    return RpcError(code, f"stream terminated by RST_STREAM with error code: {word}")


def _number(text: str) -> int:
    """Return what a header says; -1 where that is no number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else -1


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
