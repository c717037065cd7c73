"""What the worker of one container that serves HTTP has counted so far."""

import msgspec

from wasm_node.agent.model import ids


class Durations(msgspec.Struct, frozen=True):
    """
    How long answers took.

    Attributes:
        buckets: upper bounds in seconds, and how many answers took no longer.
        sum: of all, in seconds.
        count: of all.
    """

    buckets: tuple[tuple[float, int], ...]
    sum: float
    count: int


class Traffic(msgspec.Struct, frozen=True):
    """
    Figures since the worker's start, in the words of its engine.

    Attributes:
        requests: answered, by class of status: `2xx`.
        durations: until the end of a response.
        in_flight: requests that are not answered yet.
        instances: of the guest, that were made.
        live_instances: of them, that there are now.
        traps: requests that ended by one.
        timeouts: requests that had no response in time.
        denied: requests that were told 503, as there were too many at a time.
        denied_outgoing: calls to others that the pod's grants do not allow.
        connections: open now.
        connections_made: in all.
    """

    requests: dict[str, int]
    durations: Durations
    in_flight: int
    instances: int
    live_instances: int
    traps: int
    timeouts: int
    denied: int
    denied_outgoing: int
    connections: int
    connections_made: int


class Told(msgspec.Struct, frozen=True):
    """The figures of one container of a pod."""

    pod: ids.PodRef
    container: str
    traffic: Traffic
