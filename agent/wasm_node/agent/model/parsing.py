"""
Manifests into wanted pods: the one place where a PodSpec's rules are applied.

Called at the edge (`agent.kube` for the API server's objects, `agent.files`
for manifests on disk); everything further in is typed and frozen.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Container, Mapping
from typing import Any, TypeVar

import msgspec

from wasm_node.agent import errors
from wasm_node.agent.model import (
    desired,
    fields,
    grants,
    hooks,
    ids,
    manifest,
    probe,
    quantity,
    requests,
    serving,
    storage,
)

Read = TypeVar("Read")

_TERMINAL = ("Succeeded", "Failed")
_DEFAULT_GRACE_S = 30.0
_EPHEMERAL = "ephemeralContainers"
_OF_AN_OUTLINE = (
    "activeDeadlineSeconds",
    "priority",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "tolerations",
)
_OF_A_CONTAINER = ("name", "image", "resources", "restartPolicy")
"""What decides whether and how a pod may be here; it must not fail for less."""


def pod(raw: Mapping[str, Any]) -> desired.DesiredPod:
    """
    Parse one Pod out of its decoded JSON.

    Raises:
        BadInput: it is not a Pod; says which field and what was expected.
    """
    try:
        return _pod(raw)
    except ValueError as error:  # msgspec's own errors are ValueErrors too
        raise errors.BadInput(f"cannot read pod: {error}", reason="InvalidPod") from error


def outline(raw: Mapping[str, Any], why: str) -> desired.DesiredPod:
    """
    Return what can be read of a Pod that `pod` cannot read.

    It is refused, so that it waits and says why, and it can be deleted: to the
    node it must not look as if it were not there. Each field that can be read
    counts, as it may run already: a probe or a hook is not to get lost because
    of what stands beside it. Where all but ephemeral containers can be read,
    only those are refused: nobody can remove one from a pod that runs.

    Raises:
        BadInput: not even what has to be known of it can be read.
    """
    spec = raw.get("spec") or {}
    kept = _legible_spec(raw, spec)
    made = pod({**raw, "spec": kept})
    try:
        pod({**raw, "spec": {**spec, _EPHEMERAL: ()}})
    except errors.BadInput:
        return dataclasses.replace(made, refusals=(*made.refusals, desired.Refusal("spec", why)))
    whole = [each["name"] for each in kept[_EPHEMERAL] if each in spec[_EPHEMERAL]]
    ephemeral = (
        each if each.name in whole else _refused(each, why) for each in made.ephemeral_containers
    )
    return dataclasses.replace(made, ephemeral_containers=tuple(ephemeral))


def _refused(added: desired.DesiredContainer, why: str) -> desired.DesiredContainer:
    told = desired.Refusal(f"spec.{_EPHEMERAL}[{added.name}]", why)
    return dataclasses.replace(added, refusals=(*added.refusals, told))


def _legible_spec(raw: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec without what makes it one that cannot be read."""
    kept = {key: spec[key] for key in _OF_AN_OUTLINE if key in spec}
    kept |= _legible(
        {each: spec[each] for each in spec if each not in fields.CONTAINER_LISTS},
        kept,
        lambda part: pod({**raw, "spec": {**part, "containers": ()}}),
    )
    volumes = frozenset(each["name"] for each in kept.get("volumes") or ())
    for each in fields.CONTAINER_LISTS:
        listed = spec.get(each) or ()
        kept[each] = [_legible_container(one, volumes) for one in listed]
    return kept


def _legible_container(raw: Mapping[str, Any], volumes: Container[str]) -> Mapping[str, Any]:
    """Return it as it is, or as much of it as can be read."""

    def read(part: Mapping[str, Any]) -> None:
        found = msgspec.convert(part, manifest.Container, strict=False)
        _container(found, desired.RestartPolicy.NEVER)
        if any(each.name not in volumes for each in found.volume_mounts):
            raise ValueError("it mounts what cannot be read")

    return _legible(raw, {key: raw[key] for key in _OF_A_CONTAINER if key in raw}, read)


def _legible(
    raw: Mapping[str, Any], kept: Mapping[str, Any], read: Callable[[Mapping[str, Any]], object]
) -> dict[str, Any]:
    """Return what is kept, with each other field that can be read."""
    found = dict(kept)
    for key, value in raw.items():
        with contextlib.suppress(ValueError, errors.BadInput):
            read({**kept, key: value})
            found[key] = value
    return found


def _pod(raw: Mapping[str, Any]) -> desired.DesiredPod:
    read = msgspec.convert(raw, manifest.Pod, strict=False)
    meta, spec = read.metadata, read.spec
    restart = desired.RestartPolicy(spec.restart_policy)
    _check_volumes(spec)
    served, odd_serving = _annotated(serving.parse, serving.USUAL, meta.annotations)
    granted, odd_grants = _annotated(grants.parse, grants.NOTHING, meta.annotations)
    return desired.DesiredPod(
        ref=ids.PodRef(meta.namespace, meta.name, ids.pod_uid(meta.uid)),
        generation=meta.generation,
        containers=tuple(_container(each, restart) for each in spec.containers),
        init_containers=tuple(_init_container(each, restart) for each in spec.init_containers),
        ephemeral_containers=tuple(
            _ephemeral_container(each, told)
            for each, told in zip(
                spec.ephemeral_containers, raw["spec"].get("ephemeralContainers") or (), strict=True
            )
        ),
        restart_policy=restart,
        deleting=meta.deletion_timestamp is not None,
        grace_s=_grace(meta, spec),
        finished=read.status.phase in _TERMINAL,
        refusals=(*fields.refusals(raw["spec"]), *odd_serving, *odd_grants),
        qos_class=qos_class((*spec.containers, *spec.init_containers)),
        metadata=meta,
        service_account=spec.service_account_name,
        status=read.status,
        http=served,
        may_reach=granted,
        readiness_gates=tuple(each.condition_type for each in spec.readiness_gates),
        asks=requests.of(spec),
        disk_limits=storage.of(spec),
        deadline_s=spec.active_deadline_seconds,
        priority=spec.priority,
        tolerations=spec.tolerations,
        node_selector=spec.node_selector,
        node_terms=_node_terms(spec.affinity),
        os=spec.os.name if spec.os else "",
    )


def _node_terms(affinity: manifest.Affinity | None) -> tuple[manifest.NodeTerm, ...] | None:
    of_node = affinity.node_affinity if affinity else None
    required = of_node.required_during_scheduling_ignored_during_execution if of_node else None
    return required.node_selector_terms if required else None


def node(raw: Mapping[str, Any]) -> manifest.Node:
    """
    Parse a Node out of its decoded JSON.

    Raises:
        BadInput: it is not a Node; says which field and what was expected.
    """
    try:
        return msgspec.convert(raw, manifest.Node, strict=False)
    except ValueError as error:
        raise errors.BadInput(f"cannot read node: {error}", reason="InvalidNode") from error


def _check_volumes(spec: manifest.PodSpec) -> None:
    """As the API server does; manifests from files have not been there."""
    known = {each.name for each in spec.volumes}
    for each in (*spec.init_containers, *spec.containers, *spec.ephemeral_containers):
        for mount in each.volume_mounts:
            if mount.name not in known:
                raise ValueError(f"container {each.name} mounts {mount.name}: no such volume")


def _annotated(
    parse: Callable[[Mapping[str, str]], Read], usual: Read, annotations: Mapping[str, str]
) -> tuple[Read, tuple[desired.Refusal, ...]]:
    try:
        return parse(annotations), ()
    except ValueError as error:
        name, _, why = str(error).partition(": ")
        return usual, (desired.Refusal(f"metadata.annotations[{name}]", why),)


def qos_class(containers: tuple[manifest.Container, ...]) -> str:
    """Return the class by the rules of component-helpers' GetPodQOS."""
    asked = [_cpu_and_memory(each.resources.requests) for each in containers]
    limits = [_cpu_and_memory(each.resources.limits) for each in containers]
    if not any(asked) and not any(limits):
        return "BestEffort"
    for want, limit in zip(asked, limits, strict=True):
        if len(limit) != 2 or any(want.get(name, limit[name]) != limit[name] for name in limit):
            return "Burstable"
    return "Guaranteed"


def _cpu_and_memory(resources: Mapping[str, str | int | float]) -> dict[str, object]:
    read = {
        name: quantity.parse(resources[name]) for name in ("cpu", "memory") if name in resources
    }
    return {name: value for name, value in read.items() if value}


def _grace(meta: manifest.Metadata, spec: manifest.PodSpec) -> float:
    """Return it as the kubelet has it (calculateEffectiveGracePeriod)."""
    if meta.deletion_timestamp is not None and meta.deletion_grace_period_seconds is not None:
        return max(desired.LEAST_GRACE_S, float(meta.deletion_grace_period_seconds))
    if spec.termination_grace_period_seconds is not None:
        return float(spec.termination_grace_period_seconds)
    return _DEFAULT_GRACE_S


def _init_container(
    read: manifest.Container, restart: desired.RestartPolicy
) -> desired.DesiredContainer:
    """As ContainerShouldRestart: success is the end of an ordinary one."""
    if read.restart_policy == desired.RestartPolicy.ALWAYS:
        return dataclasses.replace(_container(read, restart), sidecar=True)
    once = restart is not desired.RestartPolicy.ALWAYS
    return _container(read, restart if once else desired.RestartPolicy.ON_FAILURE)


def _ephemeral_container(
    read: manifest.EphemeralContainer, raw: Mapping[str, Any]
) -> desired.DesiredContainer:
    """As computePodActions: it is never restarted."""
    made = _container(read, desired.RestartPolicy.NEVER)
    return dataclasses.replace(made, refusals=fields.ephemeral_refusals(raw))


def _container(
    read: manifest.Container, restart: desired.RestartPolicy
) -> desired.DesiredContainer:
    memory = read.resources.limits.get("memory")
    cpu = read.resources.limits.get("cpu")
    return desired.DesiredContainer(
        name=read.name,
        image=read.image,
        pull_policy=_pull_policy(read),
        command=read.command,
        args=read.args,
        env_from=tuple(_env_object(each) for each in read.env_from),
        env=tuple((each.name, _env_value(each, read.name)) for each in read.env),
        restart=desired.RestartPolicy(read.restart_policy or restart),
        own_policy=bool(read.restart_policy),
        restart_rules=tuple(_restart_rule(each) for each in read.restart_policy_rules),
        memory_limit_bytes=None if memory is None else quantity.ceiling(memory),
        cpu_limit_millis=None if cpu is None else quantity.millis(cpu),
        resources=read.resources,
        ports=read.ports,
        probes=probe.of(read),
        lifecycle=hooks.of(read),
        message_path=read.termination_message_path,
        message_from_log=read.termination_message_policy == "FallbackToLogsOnError",
        mounts=tuple(
            desired.VolumeMount(each.name, each.mount_path, each.read_only)
            for each in read.volume_mounts
            if not each.name.startswith(fields.API_ACCESS_PREFIX)
        ),
    )


def _restart_rule(read: manifest.RestartRule) -> desired.RestartRule:
    codes = read.exit_codes or manifest.ExitCodes()
    whole_pod = read.action == "RestartAllContainers"
    return desired.RestartRule(frozenset(codes.values), codes.operator == "In", whole_pod)


def _pull_policy(read: manifest.Container) -> desired.PullPolicy:
    if read.image_pull_policy:
        return desired.PullPolicy(read.image_pull_policy)
    # As the API server defaults it; matters for manifests from files.
    name = read.image.rpartition("/")[2]
    moving = "@" not in name and (":" not in name or name.endswith(":latest"))
    return desired.PullPolicy.ALWAYS if moving else desired.PullPolicy.IF_NOT_PRESENT


def _env_object(read: manifest.EnvFrom) -> desired.EnvObject:
    if read.config_map_ref is not None:
        chosen, kind = read.config_map_ref, "ConfigMap"
    elif read.secret_ref is not None:
        chosen, kind = read.secret_ref, "Secret"
    else:
        raise ValueError("envFrom names neither a configMapRef nor a secretRef")
    return desired.EnvObject(kind, chosen.name, read.prefix, chosen.optional)


def _env_value(read: manifest.EnvVar, container: str) -> desired.EnvValue:
    source = read.value_from
    if source is None:
        return desired.Literal(read.value)
    if source.field_ref is not None:
        return desired.FromField(source.field_ref.field_path)
    if source.resource_field_ref is not None:
        wanted = source.resource_field_ref
        return desired.FromResource(
            wanted.container_name or container, wanted.resource, str(wanted.divisor)
        )
    if source.config_map_key_ref is not None:
        key, kind = source.config_map_key_ref, "ConfigMap"
    elif source.secret_key_ref is not None:
        key, kind = source.secret_key_ref, "Secret"
    elif source.file_key_ref is not None:
        return desired.Literal("")  # of a pod that is refused for it
    else:
        raise ValueError(f"env {read.name}: valueFrom holds nothing that this node can read")
    return desired.FromKey(kind, key.name, key.key, key.optional)
