"""How patient a pull is; apart from the client, which is slow to import."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Timeouts:
    """
    How long a registry may take, for each try.

    Attributes:
        connect_s: to accept a connection.
        silence_s: between two pieces of an answer.
        document_s: for a whole manifest, and for a blob's first byte.
        slowest_bytes_per_s: a blob that comes more slowly is given up.
    """

    connect_s: float = 10.0
    silence_s: float = 30.0
    document_s: float = 60.0
    slowest_bytes_per_s: int = 32 << 10
