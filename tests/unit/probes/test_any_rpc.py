"""Whatever a server answers to a call, it is a reply or an error of ours."""

import contextlib
import itertools
from collections import deque

import pytest
from h2 import config, connection
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.agent.probes import health, unary

ASKED = unary.Request("h:1", "/s/m", "a", b"", 1.0)
FIELDS = st.dictionaries(
    st.sampled_from([":status", "content-type", "grpc-status", "grpc-message", "x"]),
    st.sampled_from(["200", "x", "404", "-1", "0", "16", "99", "application/grpc", "%zz%c3", ""]),
)


def _server() -> connection.H2Connection:
    own = config.H2Configuration(
        client_side=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    return connection.H2Connection(own)


def _hear(call: unary.Call, data: bytes) -> None:
    with contextlib.suppress(unary.RpcError, unary.NotHttp2Error):
        call.receive(data)


@given(headers=FIELDS, trailers=st.none() | FIELDS, body=st.binary(max_size=20))
def test_answers_of_any_fields(
    headers: dict[str, str], trailers: dict[str, str] | None, body: bytes
) -> None:
    """Fields that are missing, odd, or no numbers are told as an error."""
    call, server = unary.Call(), _server()
    server.initiate_connection()
    server.receive_data(call.hello())
    _hear(call, server.data_to_send())
    server.receive_data(call.ask(ASKED))
    status = headers.pop(":status", "200")
    server.send_headers(1, [(":status", status), *headers.items()])
    server.send_data(1, body, end_stream=trailers is None)
    if trailers is not None:
        sent = {"x": "y"} | {name: trailers[name] for name in trailers if name[0] != ":"}
        server.send_headers(1, list(sent.items()), end_stream=True)
    _hear(call, server.data_to_send())


@given(noise=st.binary(max_size=60), at=st.integers(0, 90))
def test_any_bytes(noise: bytes, at: int) -> None:
    """Bytes that are no HTTP/2, from wherever they begin."""
    call, server = unary.Call(), _server()
    server.initiate_connection()
    server.receive_data(call.hello())
    _hear(call, server.data_to_send())
    server.receive_data(call.ask(ASKED))
    server.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
    server.send_data(1, b"\0\0\0\0\2\x08\1")
    server.send_headers(1, [("grpc-status", "0")], end_stream=True)
    good = server.data_to_send()

    _hear(call, good[:at] + noise + good[at + len(noise) :])


@given(st.binary(max_size=40))
def test_any_message(message: bytes) -> None:
    """A message is read, or it is said to be none."""
    with contextlib.suppress(ValueError):
        assert health.status(message)


def test_a_flood_is_bounded() -> None:
    """However small its pieces, what arrives in all is bounded."""
    call, server = unary.Call(), _server()
    server.initiate_connection()
    server.receive_data(call.hello())
    call.receive(server.data_to_send())
    for _ in range(2**12):
        server.ping(b"12345678")
    pings = server.data_to_send()

    with pytest.raises(unary.RpcError, match="bytes arrived"):
        deque(map(call.receive, itertools.repeat(pings, 16)), maxlen=0)
