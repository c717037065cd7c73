"""
What this node says of itself: pure functions of figures and settings.

Labels, taints and addresses follow docs/architecture.md (Identity): they keep
DaemonSets made for Linux away and other hosts' networking unharmed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wasm_node.agent.model import actions, environment, thresholds, times
from wasm_node.agent.model import host as host_model
from wasm_node.protocol import messages

ARCHITECTURE = "wasm32-wasi"
FEATURES = ("RestartAllContainersOnContainerExits",)
"""
Of those that a node may declare (nodedeclaredfeatures of component-helpers)
what holds here, in order. A pod that needs one is placed only where it is
declared (KEP-5328). The others are of resizing, devices, mounts and streams,
none of which this version has. An API server before 1.35 passes over the field.
"""
SYSTEM = "wasi"
SYSTEM_LABEL = "kubernetes.io/os"
TAINT_KEY = "kubernetes.io/arch"
_FOLLOWED = (1, 37)
"""The Kubernetes minor whose kubelet we follow."""

_MEMORY_PER_POD = 8 * 2**20
_TASKS_PER_POD = 5
_RESERVED_MEMORY = 100 * 2**20
_PRESSURES = (
    ("MemoryPressure", "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory",
     "wasm-node has {} memory available", ("insufficient", "sufficient")),
    ("DiskPressure", "KubeletHasDiskPressure", "KubeletHasNoDiskPressure",
     "wasm-node has {}disk pressure", ("", "no ")),
    ("PIDPressure", "KubeletHasInsufficientPID", "KubeletHasSufficientPID",
     "wasm-node has {} PID available", ("insufficient", "sufficient")),
)  # fmt: skip
"""Condition, reasons if so and if not, and the words of both (setters.go)."""

_SAID = {
    "MemoryPressure": ("NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
    "DiskPressure": ("NodeHasNoDiskPressure", "NodeHasDiskPressure"),
    "PIDPressure": ("NodeHasSufficientPID", "NodeHasInsufficientPID"),
    "Ready": ("NodeNotReady", "NodeReady"),
}
"""The reasons of events, by condition: that it is not true, and that it is."""

_WORLDS = {
    "wasi_snapshot_preview1": "wasm-node.dev/world-wasi-cli-p1",
    "wasi:cli/command@0.2": "wasm-node.dev/world-wasi-cli-p2",
    "wasi:cli/command@0.3": "wasm-node.dev/world-wasi-cli-p3",
    "wasi:http/proxy@0.2": "wasm-node.dev/world-wasi-http-p2",
    "wasi:http/service@0.3": "wasm-node.dev/world-wasi-http-p3",
}
"""The label of each world that an engine may run."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """What is fixed about the node; strings as they appear in the Node."""

    name: str
    provider_id: str
    version: str
    kubernetes_version: str
    address_type: str
    address: str
    port: int
    max_pods: int
    labels: Mapping[str, str]
    eviction: thresholds.Rules = thresholds.OFF


@dataclasses.dataclass(frozen=True)
class Health:
    """
    Whether the node can run pods now, and more of them.

    Attributes:
        problem: why it cannot; empty is healthy.
        pressures: conditions of pressure that are true; None: nobody has
            looked yet, and what the Node says stays.
    """

    problem: str
    pressures: frozenset[str] | None = None


def kubelet_version(server_major: str, server_minor: str) -> str:
    """
    Return the version to report: ours, but never newer than the API server's.

    A newer node than its API server is outside Kubernetes' skew policy, and
    controllers read features off this number. Unreadable parts count as ours.
    """
    try:
        server = (int(server_major), int(server_minor.rstrip("+")))
    except ValueError:
        server = _FOLLOWED
    major, minor = min(server, _FOLLOWED)
    return f"v{major}.{minor}.0"


def labels(identity: Identity) -> dict[str, str]:
    """Return all labels of the Node, of worlds those that every engine runs."""
    return {
        **identity.labels,
        "kubernetes.io/arch": ARCHITECTURE,
        SYSTEM_LABEL: SYSTEM,
        "kubernetes.io/hostname": identity.name,
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
        "wasm-node.dev/world-wasi-cli-p1": "true",
        "wasm-node.dev/world-wasi-cli-p2": "true",
    }


def worlds(held: Mapping[str, Any], room: messages.Room | None) -> dict[str, str | None]:
    """
    Return what is to change in a Node's labels for what its engine runs.

    None: the label is to go. Nothing changes as long as the runtime has not
    said what it runs.
    """
    if room is None or not room.worlds:
        return {}
    wanted = {label: "true" if each in room.worlds else None for each, label in _WORLDS.items()}
    seen = held.get("metadata", {}).get("labels") or {}
    return {label: value for label, value in wanted.items() if seen.get(label) != value}


def new(identity: Identity, host: host_model.Figures, health: Health, now: float) -> dict[str, Any]:
    """Return the Node to create."""
    taints = [
        {"key": TAINT_KEY, "value": ARCHITECTURE, "effect": effect}
        for effect in ("NoSchedule", "NoExecute")
    ]
    spec: dict[str, Any] = {"taints": taints}
    if identity.provider_id:
        spec["providerID"] = identity.provider_id
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": identity.name, "labels": labels(identity)},
        "spec": spec,
        "status": status(identity, host, health, {}, now),
    }


def status(
    identity: Identity,
    host: host_model.Figures,
    health: Health,
    previous: Mapping[str, Mapping[str, Any]],
    now: float,
) -> dict[str, Any]:
    """
    Return the Node's status; `previous` holds its conditions by type.

    As long as the runtime has not said what it may use, nothing is said of
    capacity: what the Node says already stays.
    """
    return {
        **(_resources(identity, host, host.room) if host.room else {}),
        "addresses": [{"type": identity.address_type, "address": identity.address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": identity.port}},
        "declaredFeatures": list(FEATURES),
        "conditions": _conditions(health, previous, now),
        "nodeInfo": {
            "architecture": ARCHITECTURE,
            "operatingSystem": SYSTEM,
            "kubeletVersion": f"{identity.kubernetes_version}+wasm-node.{identity.version}",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": _runtime_version(host.room),
            "kernelVersion": host.kernel,
            "osImage": host.os_image,
            "machineID": host.machine_id,
            "systemUUID": host.machine_id,
            "bootID": host.boot_id,
        },
    }


def _runtime_version(room: messages.Room | None) -> str:
    """Return `wasmtime://VERSION`, as `kubectl get nodes -o wide` shows it."""
    return f"wasmtime://{room.engine.rpartition('-')[2]}" if room else ""


def _resources(
    identity: Identity, host: host_model.Figures, room: messages.Room
) -> dict[str, dict[str, str]]:
    whole, part = divmod(room.cpu_millis, 1000)
    may_use = allocatable(identity.max_pods, room, identity.eviction)
    capacity = {
        "cpu": f"{room.cpu_millis}m" if part else str(whole),
        "memory": f"{room.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{host.disk_bytes // 1024}Ki",
        "pods": str(may_use.pods),
    }
    disk = host.disk_bytes - identity.eviction.reserved(thresholds.Signal.DISK, host.disk_bytes)
    for_pods = {
        "memory": f"{may_use.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{max(0, disk) // 1024}Ki",
    }
    return {"capacity": capacity, "allocatable": {**capacity, **for_pods}}


def allocatable(
    max_pods: int, room: messages.Room, eviction: thresholds.Rules = thresholds.OFF
) -> environment.Allocatable:
    """
    Return what of it pods may use.

    Not what the runtime itself needs, nor what they would be evicted for at
    once (GetNodeAllocatableReservation of container_manager_linux.go).
    `max_pods`: as was set; 0: as many as there is room for.
    """
    spare_tasks = eviction.reserved(thresholds.Signal.PIDS, room.pids_max)
    by_tasks = max(0, room.pids_max - spare_tasks) // _TASKS_PER_POD
    by_memory = room.memory_bytes // _MEMORY_PER_POD
    spare = eviction.reserved(thresholds.Signal.MEMORY, room.memory_bytes)
    memory = max(0, room.memory_bytes - _RESERVED_MEMORY - spare)
    pods = max_pods or min(by_tasks, by_memory)
    return environment.Allocatable(room.cpu_millis, memory, pods)


def _conditions(
    health: Health, previous: Mapping[str, Mapping[str, Any]], now: float
) -> list[dict[str, Any]]:
    made = []
    for kind, why, fine, said, words in _PRESSURES:
        if health.pressures is None:
            bad = previous.get(kind, {}).get("status") == "True"
        else:
            bad = kind in health.pressures
        value, reason = ("True", why) if bad else ("False", fine)
        made.append((kind, value, reason, said.format(words[0] if bad else words[1])))
    if health.problem:
        made.append(("Ready", "False", "KubeletNotReady", health.problem))
    else:
        made.append(("Ready", "True", "KubeletReady", "wasm-node is posting ready status"))
    return [
        {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": times.rfc3339(now),
            "lastTransitionTime": _since(kind, value, previous, now),
        }
        for kind, value, reason, message in made
    ]


def _since(kind: str, value: str, previous: Mapping[str, Mapping[str, Any]], now: float) -> str:
    held = previous.get(kind, {})
    if held.get("status") == value and held.get("lastTransitionTime"):
        return str(held["lastTransitionTime"])
    return times.rfc3339(now)


def is_ours(node: Mapping[str, Any]) -> bool:
    """Say whether a decoded Node is a wasm node: it may be taken over."""
    found = node.get("metadata", {}).get("labels") or {}
    return found.get("kubernetes.io/arch") == ARCHITECTURE


def differs(made: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Say whether a status says something else than another, times aside."""

    def essence(status: Mapping[str, Any]) -> object:
        conditions = [
            (each["type"], each["status"], each["reason"], each["message"])
            for each in status.get("conditions", ())
        ]
        return {**status, "conditions": conditions}

    return essence(made) != essence(written)


def events(
    name: str, held: Mapping[str, Mapping[str, Any]], made: Mapping[str, Any]
) -> list[actions.Event]:
    """
    Return what is told of conditions that are another now (recordEventFunc).

    `held`: the conditions before, by type. That a new node is not ready yet is
    no news, as in ReadyCondition of setters.go in pkg/kubelet/nodestatus.
    """
    found = []
    for each in made["conditions"]:
        kind, before = each["type"], held.get(each["type"], {}).get("status")
        if before == each["status"] or (kind == "Ready" and before is None):
            continue
        said = _SAID[kind][each["status"] == "True"]
        found.append(actions.Event(said, f"Node {name} status is now: {said}"))
    return found


def is_denied(made: Mapping[str, Any], held: Mapping[str, Mapping[str, Any]]) -> bool:
    """
    Say whether the API server holds another word on a condition than ours.

    The node lifecycle controller calls all of them Unknown when it has not
    heard of a node for a while; only the node itself says better.
    """
    return any(
        each["type"] in held and held[each["type"]].get("status") != each["status"]
        for each in made["conditions"]
    )
