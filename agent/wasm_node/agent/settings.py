"""
The agent's settings: one YAML file, checked as a whole before anything starts.

Each field says its meaning, unit, default and why. Wrong ones stop the start
with the fields' names and what is allowed, all of them at once. What differs
by host (name, addresses) may come as flags, which count more than the file:
so one file serves all hosts.
"""

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import yaml

from wasm_node.agent import errors
from wasm_node.agent.model import collection, durations, thresholds

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account's token (Kubernetes' own constant)."""

_NAME_BYTES = 253
_PORTS = 2**16
_MOST_RESTART_S = 300
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


AddressType = Literal["Hostname", "ExternalIP", "InternalIP"]


class Address(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The one address that the Node publishes."""

    type: AddressType = "Hostname"
    """Hostname is inert: a second InternalIP of a host breaks CNI daemons."""

    value: str = ""
    """Literal IP at which the API server reaches the kubelet API; empty: this
    host's address."""


class Bootstrap(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How a node without a certificate asks for its first one."""

    kubeconfig: Path = Path()
    """Kubeconfig of somebody who may create certificate requests, such as a
    bootstrap token. Read again each time it is needed. Empty: in a pod, its
    service account."""


class Kubelet(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The kubelet API: who may ask, and where."""

    bind: str = "0.0.0.0"  # noqa: S104  # the API server comes from outside; every request is authorized
    """Address to listen on."""

    port: int = 10250
    """Port to listen on; 0 takes a free one. It is published in the Node."""

    certificate_file: Path = Path()
    """Serving certificate, PEM; read again when it changes. Empty: asked for
    at the cluster (signer `kubernetes.io/kubelet-serving`) and renewed."""

    key_file: Path = Path()
    """Its key, PEM."""

    client_ca_file: Path = Path()
    """CA of the clients' certificates, PEM. Empty: in a pod, the one that the
    cluster publishes (ConfigMap kube-system/extension-apiserver-authentication,
    or the service account's CA if that may not be read); else the CA of the
    kubeconfig."""


class Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Everything that `wasm-node agent` can be told."""

    node_name: str
    """Name of the Node; DNS name. One agent per name."""

    kubeconfig: Path = Path()
    """Given identity `system:node:NAME` in the group `system:nodes`. Empty:
    asked for at the cluster, see `bootstrap`, and renewed."""

    bootstrap: Bootstrap = Bootstrap()
    """How to ask for the first certificate; without `kubeconfig` only."""

    kubelet: Kubelet = Kubelet()
    """The kubelet API."""

    health_bind: str = "0.0.0.0"  # noqa: S104  # a host's kubelet asks from outside of the pod
    """Address of the health endpoint."""

    health_port: int = 10248
    """Port of `GET /healthz` and `/readyz`, plain HTTP; 0 takes a free one."""

    state_dir: Path = Path("/var/lib/wasm-node")
    """Disk: images, compiled code, records. Shared with the runtime."""

    run_dir: Path = Path("/run/wasm-node")
    """
    tmpfs: sockets, so its path has 76 bytes at most. Shared with the runtime.
    """

    log_dir: Path = Path("/var/log/wasm-node")
    """Containers' logs, CRI format."""

    address: Address = Address()
    """What the Node publishes as its address."""

    host_ip: str = ""
    """`status.hostIP` of pods: the real host's. Empty: this host's address."""

    provider_id: str = "wasm-node://local/{node}"
    """`spec.providerID` at creation, which nobody can change later; `{node}` is
    the name of the Node. Empty: none."""

    max_pods: int = 0
    """Capacity `pods`; 0: from pids.max and memory, as docs say."""

    max_container_restart_period: float = 300
    """Seconds that the restart of a container which ends again and again waits
    at most, 1 to 300; the kubelet's `crashLoopBackOff` has the same."""

    eviction_hard: dict[str, str | int] = {}
    """Below so much of what is left, a pod is evicted at once; by signal:
    `memory.available`, `nodefs.available`, `nodefs.inodesFree`,
    `pid.available`; a quantity or a percentage, 0% is off. What is not named is
    as a kubelet has it: 100Mi, 10%, 5%; and 10% of pids. Pods are not offered
    what lies below."""

    eviction_soft: dict[str, str | int] = {}
    """The same, for which a pod is evicted only when it lasts."""

    eviction_soft_grace_period: dict[str, str] = {}
    """How long each of those has to last, such as `1m30s`."""

    eviction_max_pod_grace_period: int = 0
    """Seconds that a pod gets to end, at most, when it is evicted for a soft
    one; for a hard one it is 1."""

    eviction_minimum_reclaim: dict[str, str | int] = {}
    """How much more has to be left, by signal, before evicting was enough."""

    eviction_pressure_transition_period: str = "5m"
    """How long the node says that there is pressure after there last was, so
    that pods do not come and go."""

    image_gc_high_threshold_percent: int = msgspec.field(
        default=85, name="imageGCHighThresholdPercent"
    )
    """From so much of the disk in use on, unused images are removed, those
    first that were not used for longest; 100 is off. Under disk pressure all
    unused ones are, whatever this says."""

    image_gc_low_threshold_percent: int = msgspec.field(
        default=80, name="imageGCLowThresholdPercent"
    )
    """Until so much of the disk is in use."""

    image_minimum_gc_age: str = msgspec.field(default="2m", name="imageMinimumGCAge")
    """How long an image is here at least before it is removed for room."""

    image_maximum_gc_age: str = msgspec.field(default="0s", name="imageMaximumGCAge")
    """Unused for longer an image is removed however much room there is; 0s is
    off."""

    heir_within: str = "0s"
    """How long an agent that is told to end waits for the next one to stand by,
    to which it then hands over. For where another comes as soon as this one has
    to go, as of a DaemonSet that surges. 0s: it waits for nobody."""

    labels: dict[str, str] = {}
    """Labels of the Node beside our own."""

    insecure_registries: tuple[str, ...] = ()
    """Registries (host:port) spoken to by plain HTTP; loopback always is."""

    @property
    def eviction(self) -> thresholds.Rules:
        """All that was set of eviction."""
        return thresholds.Rules(
            thresholds.parse(
                self.eviction_hard,
                self.eviction_soft,
                self.eviction_soft_grace_period,
                self.eviction_minimum_reclaim,
            ),
            most_pod_grace_s=self.eviction_max_pod_grace_period,
            transition_s=durations.parse(self.eviction_pressure_transition_period),
        )

    @property
    def heir_within_s(self) -> float:
        """The same in seconds."""
        return durations.parse(self.heir_within)

    @property
    def collection(self) -> collection.Rules:
        """All that was set of removing images."""
        return collection.Rules(
            high_percent=self.image_gc_high_threshold_percent,
            low_percent=self.image_gc_low_threshold_percent,
            least_age_s=durations.parse(self.image_minimum_gc_age),
            most_idle_s=durations.parse(self.image_maximum_gc_age),
        )


def load(
    path: Path,
    *,
    node_name: str | None = None,
    address: str | None = None,
    host_ip: str | None = None,
) -> Settings:
    """
    Read and check the settings file; what is given beside it counts more.

    Raises:
        BadInput: says which fields are wrong and what is allowed.
    """
    try:
        raw = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise _refusal(path, [str(error)]) from error
    if not isinstance(raw, dict):
        raise _refusal(path, ["it has to be a map of settings"])
    given = {"nodeName": node_name, "hostIp": host_ip}
    raw |= {name: value for name, value in given.items() if value is not None}
    if address is not None:
        published = raw.get("address")
        raw["address"] = {**(published if isinstance(published, dict) else {}), "value": address}
    if wrong := list(_ill_formed(raw)):
        raise _refusal(path, wrong)
    read = msgspec.convert(raw, Settings, strict=False, dec_hook=_path)
    if wrong := list(_wrong(read)):
        raise _refusal(path, wrong)
    return read


def is_set(path: Path) -> bool:
    """Say whether a path was given; the empty one stands for none."""
    return path != Path()


def _refusal(path: Path, wrong: list[str]) -> errors.BadInput:
    return errors.BadInput(
        f"cannot use settings {path}: {'; '.join(wrong)}", reason="InvalidSettings"
    )


def _ill_formed(raw: Mapping[str, Any]) -> Iterator[str]:
    """Say what is no value of its field at all, field by field."""
    known = {field.encode_name: field for field in msgspec.structs.fields(Settings)}
    for name in [*raw, *(each for each in known if known[each].required and each not in raw)]:
        if name not in raw:
            yield f"{name} is missing"
        elif name not in known:
            yield f"there is no setting {name}"
        else:
            try:
                msgspec.convert(raw[name], known[name].type, strict=False, dec_hook=_path)
            except msgspec.ValidationError as error:
                said, _, where = str(error).partition(" - at `$")
                if said.startswith("Invalid enum"):  # there is one
                    said += f": use one of {', '.join(get_args(AddressType))}"
                yield f"{name}{where.rstrip('`')}: {said}"


def _wrong(read: Settings) -> Iterator[str]:
    """Say which values are not allowed, and which are."""
    if not _is_dns_name(read.node_name):
        yield (
            f"nodeName is {read.node_name!r}: use lower-case letters, digits, - and .,"
            f" at most {_NAME_BYTES}"
        )
    addresses = {
        "address.value": read.address.value,
        "hostIp": read.host_ip,
        "kubelet.bind": read.kubelet.bind,
        "healthBind": read.health_bind,
    }
    for field, value in addresses.items():
        if value and not _is_ip(value):
            yield f"{field} is {value!r}: use a literal IP address"
    for field, port in (("kubelet.port", read.kubelet.port), ("healthPort", read.health_port)):
        if not 0 <= port < _PORTS:
            yield f"{field} is {port}: use 0 to {_PORTS - 1}"
    if read.max_pods < 0:
        yield f"maxPods is {read.max_pods}: use 0 (as many as fit) or more"
    if not 1 <= read.max_container_restart_period <= _MOST_RESTART_S:
        yield (
            f"maxContainerRestartPeriod is {read.max_container_restart_period:g}: use 1 to"
            f" {_MOST_RESTART_S} (seconds)"
        )
    if is_set(read.kubelet.certificate_file) != is_set(read.kubelet.key_file):
        yield "kubelet.certificateFile and kubelet.keyFile: give both or none"
    try:
        durations.parse(read.heir_within)
    except ValueError as error:
        yield f"heirWithin: {error}"
    yield from _wrong_eviction(read)
    yield from collection.wrong(
        read.image_gc_high_threshold_percent,
        read.image_gc_low_threshold_percent,
        read.image_minimum_gc_age,
        read.image_maximum_gc_age,
    )
    yield from _wrong_identity(read)


def _wrong_eviction(read: Settings) -> Iterator[str]:
    yield from thresholds.wrong(
        read.eviction_hard,
        read.eviction_soft,
        read.eviction_soft_grace_period,
        read.eviction_minimum_reclaim,
    )
    if read.eviction_max_pod_grace_period < 0:
        yield (
            f"evictionMaxPodGracePeriod is {read.eviction_max_pod_grace_period}: use 0 or more"
            " (seconds)"
        )
    try:
        durations.parse(read.eviction_pressure_transition_period)
    except ValueError as error:
        yield f"evictionPressureTransitionPeriod: {error}"


def _wrong_identity(read: Settings) -> Iterator[str]:
    if is_set(read.kubeconfig):
        if is_set(read.bootstrap.kubeconfig):
            yield "kubeconfig and bootstrap.kubeconfig: give one of them"
    elif not is_set(read.bootstrap.kubeconfig) and not _in_a_pod():
        yield (
            "kubeconfig and bootstrap.kubeconfig are empty, and this is no pod with a service"
            " account: give one of them"
        )


def _in_a_pod() -> bool:
    has_token = (SERVICE_ACCOUNT / "token").exists()
    return has_token and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _is_dns_name(text: str) -> bool:
    return len(text) <= _NAME_BYTES and all(map(_LABEL.fullmatch, text.split(".")))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"cannot read {value!r} as {kind}")
