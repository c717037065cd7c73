"""
`status` of a Pod as this node writes it; mirrors the API's own shape.

Encoded by msgspec with camelCase names, unset parts left out. Times are RFC
3339 strings, as the API server stores them.
"""

from typing import Any

import msgspec

from wasm_node.agent.model import manifest


class _Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base: camelCase on the wire, immutable, absent means default."""


class Waiting(_Part, frozen=True):
    """`state.waiting`."""

    reason: str
    message: str = ""


class RunningState(_Part, frozen=True):
    """`state.running`."""

    started_at: str


class Terminated(_Part, frozen=True, omit_defaults=False):
    """`state.terminated`."""

    exit_code: int
    reason: str
    message: str
    started_at: str | None
    finished_at: str | None
    container_id: str = msgspec.field(name="containerID")


class State(_Part, frozen=True):
    """`state` and `lastState`: at most one of the three."""

    waiting: Waiting | None = None
    running: RunningState | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Part, frozen=True, omit_defaults=False):
    """One of `containerStatuses`; `started` may be left out."""

    name: str
    image: str
    image_id: str = msgspec.field(name="imageID")
    container_id: str = msgspec.field(name="containerID")
    ready: bool
    started: bool | msgspec.UnsetType
    restart_count: int
    state: State
    last_state: State


class Address(_Part, frozen=True):
    """One of `podIPs` and `hostIPs`."""

    ip: str


class PodStatus(_Part, frozen=True):
    """`status`."""

    phase: str
    conditions: tuple[manifest.Condition, ...]
    container_statuses: tuple[ContainerStatus, ...]
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = ()
    observed_generation: int = 0
    start_time: str = ""
    host_ip: str = msgspec.field(name="hostIP", default="")
    host_ips: tuple[Address, ...] = msgspec.field(name="hostIPs", default=())
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[Address, ...] = msgspec.field(name="podIPs", default=())
    qos_class: str = ""
    reason: str = ""
    message: str = ""

    def to_builtins(self) -> dict[str, Any]:
        """Return the JSON object as plain dicts and lists."""
        made = msgspec.to_builtins(self)
        assert isinstance(made, dict)  # noqa: S101  # a Struct encodes as an object
        return made
