"""What is done right after a container's start and right before its end."""

import dataclasses
from typing import TypeAlias

from wasm_node.agent.model import manifest, probe


@dataclasses.dataclass(frozen=True)
class Sleep:
    """Nothing, for so many seconds."""

    seconds: float


Hook: TypeAlias = Sleep | probe.HttpGet | probe.Exec


@dataclasses.dataclass(frozen=True)
class Hooks:
    """
    The hooks of one container.

    Attributes:
        post_start: after its start; until it is done the container waits.
        pre_stop: before it is told to end, within its grace period.
    """

    post_start: Hook | None = None
    pre_stop: Hook | None = None


NONE = Hooks()


def of(container: manifest.Container) -> Hooks:
    """
    Read a container's hooks.

    Raises:
        ValueError: `FIELD: why`.
    """
    read = container.lifecycle
    if read is None:
        return NONE
    return Hooks(
        _hook(read.post_start, container, "postStart"),
        _hook(read.pre_stop, container, "preStop"),
    )


def _hook(read: manifest.Handler | None, container: manifest.Container, name: str) -> Hook | None:
    if read is None:
        return None
    field = f"{container.name}.lifecycle.{name}"
    if read.sleep is not None:
        return Sleep(float(read.sleep.seconds))
    if read.http_get is not None:
        return probe.http_get(read.http_get, container, field)
    if read.exec is not None:  # as written: the kubelet expands nothing here
        return probe.execution(read.exec, field)
    return None
