"""
The two messages of grpc.health.v1, in protobuf.

A field each: `string service = 1` is asked, `ServingStatus status = 1` is the
answer. A library for that would be larger than all that carries them.
"""

_NAMES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SERVICE = b"\x0a"
_STATUS = 0x08
_VARINT_BYTES = 10


def request(service: str) -> bytes:
    """Encode a HealthCheckRequest."""
    name = service.encode()
    return _SERVICE + _varint(len(name)) + name if name else b""


def status(response: bytes) -> str:
    """
    Return the status of a HealthCheckResponse; a number where it has no name.

    Raises:
        ValueError: it is none.
    """
    found, at = 0, 0
    while at < len(response):
        key, at = _number(response, at)
        value, at = _field(response, at, key & 7)
        if key == _STATUS:
            found = value
    return _NAMES[found] if found < len(_NAMES) else str(found)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _field(message: bytes, at: int, wire_type: int) -> tuple[int, int]:
    """Return a number, or 0 for what is of another type; and where it ends."""
    match wire_type:
        case 0:
            return _number(message, at)
        case 1:
            end = at + 8
        case 2:
            size, at = _number(message, at)
            end = at + size
        case 5:
            end = at + 4
        case _:
            raise ValueError(f"there is no wire type {wire_type}")
    if end > len(message):
        raise ValueError("it is cut short")
    return 0, end


def _number(message: bytes, at: int) -> tuple[int, int]:
    found = 0
    for index, byte in enumerate(message[at : at + _VARINT_BYTES]):
        found |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return found, at + index + 1
    raise ValueError("a number has no end")
