"""
The environment of a container: sources resolved, `$(NAME)` expanded.

Pure: the objects it needs were fetched before (`wanted_objects` lists them).
Rules follow the kubelet's makeEnvironmentVariables: later wins.
"""

import dataclasses
import decimal
import re
from collections.abc import Iterator, Mapping

from wasm_node.agent import errors
from wasm_node.agent.model import desired, expansion, quantity

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a pod runs: what downward fields tell it."""

    node_name: str
    host_ip: str
    pod_ip: str


@dataclasses.dataclass(frozen=True)
class Allocatable:
    """What the node's pods may use in all; a limit that is not set is this."""

    cpu_millis: int
    memory_bytes: int
    pods: int


Objects = Mapping[tuple[str, str], Mapping[str, bytes] | None]
"""(kind, name) to data; None where there is no such object."""


def wanted_objects(container: desired.DesiredContainer) -> set[tuple[str, str]]:
    """Return (kind, name) of each ConfigMap and Secret that the env reads."""
    keys = {(each.kind, each.name) for each in container.env_from}
    return keys | {
        (value.kind, value.name) for _, value in container.env if isinstance(value, desired.FromKey)
    }


def resolve(
    pod: desired.DesiredPod,
    container: desired.DesiredContainer,
    objects: Objects,
    place: Place,
    allocatable: Allocatable,
    image_env: tuple[tuple[str, str], ...] = (),
) -> tuple[tuple[str, str], ...]:
    """
    Return the guest's environment, in order, names unique.

    Raises:
        BadInput: `CreateContainerConfigError`: a source that must exist does
            not; says which object, which key.
    """
    made: dict[str, str] = dict(image_env)
    for source in container.env_from:
        made.update(_all_keys(pod, source, objects))
    for name, value in container.env:
        found = _value(pod, value, objects, place, allocatable, made)
        if found is not None:
            made[name] = found
    return tuple(made.items())


def _all_keys(
    pod: desired.DesiredPod, source: desired.EnvObject, objects: Objects
) -> Iterator[tuple[str, str]]:
    data = objects.get((source.kind, source.name))
    if data is None:
        if not source.optional:
            raise _missing(pod, source.kind, source.name)
        return
    for key, value in data.items():
        yield source.prefix + key, value.decode(errors="replace")


def _value(
    pod: desired.DesiredPod,
    value: desired.EnvValue,
    objects: Objects,
    place: Place,
    allocatable: Allocatable,
    made: Mapping[str, str],
) -> str | None:
    match value:
        case desired.Literal(text):
            return expansion.expand(text, made)
        case desired.FromField(path):
            return _field(pod, path, place)
        case desired.FromResource():
            return _resource(pod, value, allocatable)
        case desired.FromKey(kind, name, key, optional):
            data = objects.get((kind, name))
            if data is not None and key in data:
                return data[key].decode(errors="replace")
            if optional:
                return None
            raise _missing(pod, kind, name, key if data is not None else None)


def _missing(
    pod: desired.DesiredPod, kind: str, name: str, key: str | None = None
) -> errors.BadInput:
    what = f"{kind.lower()} {pod.ref.namespace}/{name}"
    text = f'{kind.lower()} "{name}" not found' if key is None else f"no key {key!r} in {what}"
    return errors.BadInput(text, reason="CreateContainerConfigError")


def _field(pod: desired.DesiredPod, path: str, place: Place) -> str:
    meta = pod.metadata
    plain = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "spec.nodeName": place.node_name,
        "spec.serviceAccountName": pod.service_account,
        "status.hostIP": place.host_ip,
        "status.hostIPs": place.host_ip,
        "status.podIP": place.pod_ip,
        "status.podIPs": place.pod_ip,
    }
    if path in plain:
        return plain[path]
    match = _SUBSCRIPT.fullmatch(path)
    if match is not None:
        held = meta.labels if match[1] == "labels" else meta.annotations
        return held.get(match[2], "")
    raise errors.BadInput(
        f"cannot read field {path!r} into an environment variable: not a field of the downward API",
        reason="CreateContainerConfigError",
    )


def _resource(
    pod: desired.DesiredPod, value: desired.FromResource, allocatable: Allocatable
) -> str:
    for container in pod.all_containers:
        if container.name == value.container:
            break
    else:
        raise errors.BadInput(
            f"cannot read resources of container {value.container!r}: no such container",
            reason="CreateContainerConfigError",
        )
    which, _, name = value.resource.partition(".")
    held = container.resources.limits if which == "limits" else container.resources.requests
    if name in held:
        amount = quantity.parse(held[name])
    elif which == "limits" and name == "cpu":
        amount = decimal.Decimal(allocatable.cpu_millis) / 1000
    elif which == "limits" and name == "memory":
        amount = decimal.Decimal(allocatable.memory_bytes)
    else:
        amount = decimal.Decimal(0)
    divisor = quantity.parse(value.divisor) or decimal.Decimal(1)
    return str(int((amount / divisor).to_integral_value(rounding=decimal.ROUND_CEILING)))
