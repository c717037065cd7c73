"""
Kubernetes objects as they arrive: the parts that this node reads.

These structs mirror the API's own names and shapes, decoded once by msgspec at
the edge (`agent.kube`, `agent.files`). Everything further in works with
`model.desired`, which `model.parsing` makes of them. Fields not listed here
are not lost silently: `model.fields` says of each what becomes of it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class _Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base: camelCase on the wire, immutable, absent means default."""


class KeySelector(_Part, frozen=True):
    """`configMapKeyRef` and `secretKeyRef`."""

    key: str
    name: str = ""
    optional: bool = False


class FieldSelector(_Part, frozen=True):
    """`fieldRef`: a field of the pod itself."""

    field_path: str


class ResourceSelector(_Part, frozen=True):
    """`resourceFieldRef`: a container's own request or limit."""

    resource: str
    container_name: str = ""
    divisor: str | int = "0"


class EnvSource(_Part, frozen=True):
    """`valueFrom`: exactly one of these is set (the API server sees to it)."""

    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    file_key_ref: Mapping[str, Any] | None = None


class EnvVar(_Part, frozen=True):
    """One entry of `env`."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ObjectSelector(_Part, frozen=True):
    """`configMapRef` and `secretRef`."""

    name: str = ""
    optional: bool = False


class EnvFrom(_Part, frozen=True):
    """One entry of `envFrom`."""

    prefix: str = ""
    config_map_ref: ObjectSelector | None = None
    secret_ref: ObjectSelector | None = None


class Resources(_Part, frozen=True):
    """`resources`; quantities as written."""

    limits: dict[str, str | int | float] = {}
    requests: dict[str, str | int | float] = {}


class Port(_Part, frozen=True):
    """One of `ports`."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = msgspec.field(name="hostIP", default="")


class Header(_Part, frozen=True):
    """One of `httpHeaders`."""

    name: str
    value: str = ""


class HttpGet(_Part, frozen=True):
    """`httpGet`."""

    port: int | str
    host: str = ""
    path: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[Header, ...] = ()


class TcpSocket(_Part, frozen=True):
    """`tcpSocket`."""

    port: int | str
    host: str = ""


class Grpc(_Part, frozen=True):
    """`grpc`."""

    port: int
    service: str | None = None


class Exec(_Part, frozen=True):
    """`exec`."""

    command: tuple[str, ...] = ()


class Probe(_Part, frozen=True):
    """`startupProbe`, `readinessProbe`, `livenessProbe`; the API's defaults."""

    exec: Exec | None = None
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class Sleep(_Part, frozen=True):
    """`sleep` of a hook."""

    seconds: int


class Handler(_Part, frozen=True):
    """`postStart`, `preStop`."""

    exec: Exec | None = None
    http_get: HttpGet | None = None
    sleep: Sleep | None = None


class Lifecycle(_Part, frozen=True):
    """`lifecycle` of a container."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None


class VolumeMount(_Part, frozen=True):
    """One of `volumeMounts`."""

    name: str
    mount_path: str
    read_only: bool = False


class ExitCodes(_Part, frozen=True):
    """`exitCodes` of a restart rule."""

    operator: str = "In"
    values: tuple[int, ...] = ()


class RestartRule(_Part, frozen=True):
    """One of `restartPolicyRules`."""

    action: str = ""
    exit_codes: ExitCodes | None = None


class Container(_Part, frozen=True):
    """One of `spec.containers` and `spec.initContainers`."""

    name: str
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    resources: Resources = Resources()
    ports: tuple[Port, ...] = ()
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    restart_policy: str = ""
    restart_policy_rules: tuple[RestartRule, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = ""


class EphemeralContainer(Container, frozen=True):
    """One of `spec.ephemeralContainers`: what `kubectl debug` adds."""

    target_container_name: str = ""


class EmptyDir(_Part, frozen=True):
    """`emptyDir`."""

    size_limit: str | int | float | None = None


class Volume(_Part, frozen=True):
    """One of `spec.volumes`; its kind is looked at by `fields`."""

    name: str
    empty_dir: EmptyDir | None = None


class ReadinessGate(_Part, frozen=True):
    """One of `spec.readinessGates`."""

    condition_type: str


class Toleration(_Part, frozen=True):
    """One of `spec.tolerations`."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class Requirement(_Part, frozen=True):
    """One of `matchExpressions` and `matchFields` of a node selector."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeTerm(_Part, frozen=True):
    """One of `nodeSelectorTerms`."""

    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


class NodeSelector(_Part, frozen=True):
    """The part of `nodeAffinity` that is required."""

    node_selector_terms: tuple[NodeTerm, ...] = ()


class NodeAffinity(_Part, frozen=True):
    """`nodeAffinity`; what is preferred is the scheduler's alone."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class Affinity(_Part, frozen=True):
    """`affinity`; that between pods is the scheduler's alone."""

    node_affinity: NodeAffinity | None = None


class PodOS(_Part, frozen=True):
    """`os`."""

    name: str


class PodSpec(_Part, frozen=True):
    """`spec`."""

    containers: tuple[Container, ...]
    node_name: str = ""
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = "Always"
    active_deadline_seconds: int | None = None
    overhead: dict[str, str | int | float] = {}
    termination_grace_period_seconds: int | None = None
    service_account_name: str = ""
    readiness_gates: tuple[ReadinessGate, ...] = ()
    priority: int = 0
    tolerations: tuple[Toleration, ...] = ()
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    os: PodOS | None = None


class Owner(_Part, frozen=True):
    """One of `metadata.ownerReferences`."""

    kind: str
    name: str
    controller: bool = False


class Metadata(_Part, frozen=True):
    """`metadata`; times are RFC 3339 as sent."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class Condition(_Part, frozen=True):
    """One of `status.conditions`."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None
    last_probe_time: str | None = None
    observed_generation: int | None = None


class EndingSeen(_Part, frozen=True):
    """`state.terminated`: that it is there is all that is asked."""


class StateSeen(_Part, frozen=True):
    """`state` of a container: whether it has ended."""

    terminated: EndingSeen | None = None


class ContainerSeen(_Part, frozen=True):
    """One of `status.containerStatuses`: what we last said of it."""

    name: str
    container_id: str = msgspec.field(name="containerID", default="")
    ready: bool = False
    started: bool | None = None
    state: StateSeen = StateSeen()


class StatusSeen(_Part, frozen=True):
    """What the API server holds of `status`: the parts we carry on from."""

    phase: str = ""
    start_time: str | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerSeen, ...] = ()
    init_container_statuses: tuple[ContainerSeen, ...] = ()
    ephemeral_container_statuses: tuple[ContainerSeen, ...] = ()

    def last_said(self, container_id: str) -> ContainerSeen | None:
        """Return what was said of one attempt of a container."""
        for each in (
            *self.container_statuses,
            *self.init_container_statuses,
            *self.ephemeral_container_statuses,
        ):
            if each.container_id == container_id:
                return each
        return None


class Pod(_Part, frozen=True):
    """A Pod."""

    metadata: Metadata
    spec: PodSpec
    status: StatusSeen = StatusSeen()


class Taint(_Part, frozen=True):
    """One of a Node's `spec.taints`."""

    key: str
    effect: str
    value: str = ""


class NodeSpec(_Part, frozen=True):
    """A Node's `spec`."""

    taints: tuple[Taint, ...] = ()


class NodeStatus(_Part, frozen=True):
    """A Node's `status`; quantities as written."""

    allocatable: dict[str, str | int | float] = {}


class Node(_Part, frozen=True):
    """A Node: what pods are admitted by."""

    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()
