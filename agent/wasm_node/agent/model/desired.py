"""
What is wanted: one pod, parsed once at the edge into values that cannot change.

`model.parsing` makes these; `plan` reads them. A pod that this node cannot run
as written is a DesiredPod too, with `refusals`: it waits, and says why.
"""

import dataclasses
import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Self, TypeAlias

from wasm_node.agent.model import grants, hooks, ids, manifest, probe, requests, serving, storage
from wasm_node.protocol import records

LEAST_GRACE_S = 1.0
"""Of a pod that is to end, also by force (calculateEffectiveGracePeriod)."""


class RestartPolicy(enum.StrEnum):
    """When an ended container is started again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class PullPolicy(enum.StrEnum):
    """When the registry is asked before a start."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclasses.dataclass(frozen=True)
class Literal:
    """An environment value as written; may hold `$(NAME)` references."""

    text: str


@dataclasses.dataclass(frozen=True)
class FromField:
    """The value of a field of the pod: `metadata.name`, `status.podIP`, ..."""

    path: str


@dataclasses.dataclass(frozen=True)
class FromResource:
    """A container's own limit or request, in units of `divisor`."""

    container: str
    resource: str
    divisor: str


@dataclasses.dataclass(frozen=True)
class FromKey:
    """One key of a ConfigMap or Secret of the pod's namespace."""

    kind: str
    name: str
    key: str
    optional: bool


EnvValue: TypeAlias = Literal | FromField | FromResource | FromKey


@dataclasses.dataclass(frozen=True)
class EnvObject:
    """All keys of a ConfigMap or Secret, each with a prefix."""

    kind: str
    name: str
    prefix: str
    optional: bool


@dataclasses.dataclass(frozen=True)
class RestartRule:
    """
    Exit codes after which a container is started again, whatever its policy.

    Attributes:
        codes: as listed.
        listed: the rule is of these codes; else of all others.
        whole_pod: and all others with it, as if the pod were new (KEP-5532).
    """

    codes: frozenset[int]
    listed: bool
    whole_pod: bool = False

    def matches(self, code: int) -> bool:
        """Say whether the rule is of this code."""
        return (code in self.codes) is self.listed


@dataclasses.dataclass(frozen=True)
class VolumeMount:
    """A volume of the pod, as one of its containers sees it."""

    volume: str
    path: str
    read_only: bool


@dataclasses.dataclass(frozen=True)
class DesiredContainer:
    """
    One container; limits are None where none is set.

    A sidecar is an init container that runs on beside the others (KEP-753).
    `refusals` are of an ephemeral container, which waits with them alone; those
    of the others are the pod's. `own_policy`: `restart` is not the pod's.
    """

    name: str
    image: str
    pull_policy: PullPolicy
    command: tuple[str, ...]
    args: tuple[str, ...]
    env_from: tuple[EnvObject, ...]
    env: tuple[tuple[str, EnvValue], ...]
    restart: RestartPolicy
    memory_limit_bytes: int | None
    cpu_limit_millis: int | None
    resources: manifest.Resources
    ports: tuple[manifest.Port, ...] = ()
    probes: tuple[probe.Probe, ...] = ()
    restart_rules: tuple[RestartRule, ...] = ()
    sidecar: bool = False
    mounts: tuple[VolumeMount, ...] = ()
    lifecycle: hooks.Hooks = hooks.NONE
    message_path: str = ""
    message_from_log: bool = False
    refusals: tuple["Refusal", ...] = ()
    own_policy: bool = False

    def restart_rule(self, code: int) -> RestartRule | None:
        """Return the first that matches (FindMatchingContainerRestartRule)."""
        return next((each for each in self.restart_rules if each.matches(code)), None)

    def tcp_ports(self) -> tuple[int, ...]:
        """Return the numbers of its TCP ports, in order, each once."""
        found = (each.container_port for each in self.ports if each.protocol == "TCP")
        return tuple(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why this node does not run a pod as written: field, and what to do."""

    path: str
    why: str

    def __str__(self) -> str:
        """Return `field: why`."""
        return f"{self.path}: {self.why}"


def listed(refusals: Iterable[Refusal]) -> str:
    """Return them as people read them."""
    return "; ".join(str(each) for each in refusals)


@dataclasses.dataclass(frozen=True)
class DesiredPod:
    """
    One pod.

    Attributes:
        ref: namespace, name, uid.
        generation: `metadata.generation`.
        containers: in the order of the manifest.
        init_containers: in the order in which they are started.
        ephemeral_containers: added while it runs, to look into it; they begin
            at any time, once each, and nothing depends on them.
        restart_policy: the pod's; containers carry their own resolved one.
        deleting: `metadata.deletionTimestamp` is set.
        grace_s: seconds between the request to end and the kill. As asked for
            with a deletion it is `LEAST_GRACE_S` or more; as written in the
            manifest it may be 0.
        deadline_s: seconds that it may be active; None: for ever.
        priority: the more, the later it has to go.
        tolerations: which taints of a node it puts up with.
        node_selector: labels that its node must have.
        node_terms: of its required node affinity, one of which must hold of
            its node; None: any node will do.
        os: `spec.os.name`; empty: it does not say.
        finished: the API server already holds a terminal phase.
        refusals: not empty: nothing of this pod is started, or started again.
        qos_class: Guaranteed, Burstable or BestEffort.
        metadata: for downward fields.
        service_account: likewise.
        status: what the API server held when this was decoded.
        http: how its containers serve HTTP, if they do.
        may_reach: whom its containers may reach.
        readiness_gates: conditions that have to be True as well.
        asks: what of a node it wants for itself.
        disk_limits: how much of the disk it may use.
        gone: its object is no more; there is nothing to report to.
    """

    ref: ids.PodRef
    generation: int
    containers: tuple[DesiredContainer, ...]
    restart_policy: RestartPolicy
    deleting: bool
    grace_s: float
    finished: bool
    refusals: tuple[Refusal, ...]
    qos_class: str
    metadata: manifest.Metadata
    service_account: str
    status: manifest.StatusSeen
    http: serving.Serving = serving.USUAL
    may_reach: grants.Grants = grants.NOTHING
    readiness_gates: tuple[str, ...] = ()
    asks: requests.Requests = requests.NOTHING
    disk_limits: storage.Limits = storage.NONE
    gone: bool = False
    init_containers: tuple[DesiredContainer, ...] = ()
    ephemeral_containers: tuple[DesiredContainer, ...] = ()
    deadline_s: float | None = None
    priority: int = 0
    tolerations: tuple[manifest.Toleration, ...] = ()
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    node_terms: tuple[manifest.NodeTerm, ...] | None = None
    os: str = ""

    @property
    def is_critical(self) -> bool:
        """Whether its cluster cannot do without it (IsCriticalPod)."""
        return self.priority >= records.CRITICAL_PRIORITY

    @property
    def all_containers(self) -> tuple[DesiredContainer, ...]:
        """Init containers first, as `kubectl` lists them."""
        return self.init_containers + self.containers + self.ephemeral_containers

    @property
    def sidecars(self) -> tuple[DesiredContainer, ...]:
        """The init containers that run on."""
        return tuple(each for each in self.init_containers if each.sidecar)

    @property
    def may_reset(self) -> bool:
        """Whether a rule restarts all of it (AllContainersCouldRestart)."""
        lasting = self.init_containers + self.containers
        return any(rule.whole_pod for each in lasting for rule in each.restart_rules)

    def host_ports(self) -> Iterator[manifest.Port]:
        """Iterate over ports with a hostPort, which it has while it runs."""
        for each in self.sidecars + self.containers:
            yield from (port for port in each.ports if port.host_port)

    def container(self, name: str) -> DesiredContainer:
        """Return one container; KeyError where there is none of that name."""
        for each in self.all_containers:
            if each.name == name:
                return each
        raise KeyError(name)

    @property
    def ends_at_once(self) -> bool:
        """Whether it has no time at all to end: only where no API server is."""
        return self.deleting and self.grace_s == 0

    def terminating(self) -> Self:
        """Return the pod with the time that it has when all of it is to end."""
        if self.ends_at_once or self.grace_s >= LEAST_GRACE_S:
            return self
        return dataclasses.replace(self, grace_s=LEAST_GRACE_S)

    def ending(self, grace_s: float) -> Self:
        """Return the pod as one whose deletion was asked for."""
        return dataclasses.replace(self, deleting=True, grace_s=grace_s)

    def vanished(self) -> Self:
        """Return the pod as one whose object is gone: to be ended soon."""
        return dataclasses.replace(self, deleting=True, grace_s=LEAST_GRACE_S, gone=True)


def orphan(ref: ids.PodRef) -> DesiredPod:
    """Return a pod of which only traces on this node are left: to be ended."""
    return DesiredPod(
        ref=ref,
        generation=0,
        containers=(),
        restart_policy=RestartPolicy.NEVER,
        deleting=True,
        grace_s=LEAST_GRACE_S,
        finished=False,
        refusals=(),
        qos_class="BestEffort",
        metadata=manifest.Metadata(name=ref.name, namespace=ref.namespace, uid=ref.uid),
        service_account="",
        status=manifest.StatusSeen(),
        gone=True,
    )
