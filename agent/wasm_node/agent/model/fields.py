"""
What becomes of each field of a PodSpec on this node.

Every field of the API server's own schema stands here once: honoured,
meaningless for wasm (and why), or refused, in which case the pod waits with
the reason `UnsupportedPodSpec` and this text. An e2e test walks the schema of
a real API server and fails on a field without a row, so that nothing a user
writes is dropped without a decision. The docs' table is made from this one.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any

from wasm_node.agent.model import desired

API_ACCESS_PREFIX = "kube-api-access-"
"""Name of the volume that the ServiceAccount admission adds to every pod."""


class Kind(enum.StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    MEANINGLESS = "meaningless"
    REFUSED = "refused"
    INSIDE = "see inside"


@dataclasses.dataclass(frozen=True)
class Fate:
    """
    One row.

    Attributes:
        kind: what becomes of the field.
        note: why; of a refused field, what the user reads.
        harmless: values of a refused field that ask for nothing.
    """

    kind: Kind
    note: str = ""
    harmless: tuple[object, ...] = ()


def _honoured(note: str = "") -> Fate:
    return Fate(Kind.HONOURED, note)


def _meaningless(note: str) -> Fate:
    return Fate(Kind.MEANINGLESS, note)


def _refused(note: str, *harmless: object) -> Fate:
    return Fate(Kind.REFUSED, note, (None, False, *harmless))


_INSIDE = Fate(Kind.INSIDE)
_SCHEDULER = _honoured("by the scheduler")
_BOTH = _honoured("by the scheduler, and at the node")
_CONTROL_PLANE = _honoured("by the API server and its controllers")
_UID = _meaningless("every pod has a user id of its own that no guest can see or choose")
_STRICTER = _meaningless("the wasm sandbox is stricter already: a guest makes no system call")
_LATER = "not supported by this version of wasm-node: remove it, or run the pod on a Linux node"
_HOST = "a wasm guest has no way to use the host's namespaces: remove it"
_EXEC = "a program of the image, or an export, as docs/exec.md says"
_RESOLVER = _meaningless("names are looked up as the runtime's own pod does")


_VOLUME = (
    "volumes of this kind are not supported by this version of wasm-node: pass configuration as "
    "environment variables (env, envFrom)"
)
_VOLUMES = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
)


def _probe(name: str) -> Mapping[str, Fate]:
    """Give the rows of one kind of probe: all three have the same fields."""
    honoured = (
        "failureThreshold",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "tcpSocket",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
    )
    return {
        name: _INSIDE,
        f"{name}.exec": _honoured(_EXEC),
        f"{name}.grpc": _INSIDE,
        f"{name}.grpc.mode": _refused("only Plaintext is spoken: remove it", "Plaintext"),
        f"{name}.grpc.port": _honoured(),
        f"{name}.grpc.service": _honoured(),
        **_http_get(f"{name}.httpGet"),
        **{f"{name}.{each}": _honoured() for each in honoured},
    }


def _hook(name: str) -> Mapping[str, Fate]:
    """Give the rows of one kind of hook: both have the same fields."""
    return {
        name: _INSIDE,
        f"{name}.exec": _honoured(_EXEC),
        **_http_get(f"{name}.httpGet"),
        f"{name}.sleep": _honoured(),
        f"{name}.tcpSocket": _refused("no node does it: remove it"),
    }


def _http_get(name: str) -> Mapping[str, Fate]:
    honoured = ("host", "httpHeaders", "path", "port", "scheme")
    return {
        name: _INSIDE,
        f"{name}.protocol": _refused("only HTTP1 is spoken: remove it", "HTTP1"),
        **{f"{name}.{each}": _honoured() for each in honoured},
    }


POD: Mapping[str, Fate] = {
    "activeDeadlineSeconds": _honoured(),
    "affinity": _honoured("by the scheduler; required nodeAffinity at the node, too"),
    "automountServiceAccountToken": _meaningless("API access is not mounted by this version"),
    "containers": _INSIDE,
    "dnsConfig": _RESOLVER,
    "dnsPolicy": _RESOLVER,
    "enableServiceLinks": _meaningless("no variables of Services are set: find them by name"),
    "ephemeralContainers": _INSIDE,
    "evictionResponders": _CONTROL_PLANE,
    "hostAliases": _RESOLVER,
    "hostIPC": _refused(_HOST),
    "hostNetwork": _refused(_HOST),
    "hostPID": _refused(_HOST),
    "hostUsers": _UID,
    "hostname": _meaningless("WASI has no host name to ask for"),
    "hostnameOverride": _meaningless("WASI has no host name to ask for"),
    "imagePullSecrets": _meaningless("images are pulled without credentials in this version"),
    "initContainers": _INSIDE,
    "nodeName": _honoured(),
    "nodeSelector": _BOTH,
    "os": _honoured(
        "the node's is wasi, which the API server knows not: with linux or windows a pod has Failed"
    ),
    "overhead": _SCHEDULER,
    "preemptionPolicy": _SCHEDULER,
    "priority": _honoured(
        "by the scheduler; the lower, the sooner it is evicted, preempted or shut down"
    ),
    "priorityClassName": _SCHEDULER,
    "readinessGates": _honoured(),
    "resourceClaims": _refused(_LATER),
    "resources": _refused(_LATER),
    "restartPolicy": _honoured(),
    "runtimeClassName": _SCHEDULER,
    "schedulerName": _SCHEDULER,
    "schedulingGates": _SCHEDULER,
    "schedulingGroup": _SCHEDULER,
    "securityContext": _INSIDE,
    "securityContext.appArmorProfile": _STRICTER,
    "securityContext.fsGroup": _UID,
    "securityContext.fsGroupChangePolicy": _UID,
    "securityContext.runAsGroup": _UID,
    "securityContext.runAsNonRoot": _honoured("always so"),
    "securityContext.runAsUser": _UID,
    "securityContext.seLinuxChangePolicy": _STRICTER,
    "securityContext.seLinuxOptions": _STRICTER,
    "securityContext.seccompProfile": _STRICTER,
    "securityContext.supplementalGroups": _UID,
    "securityContext.supplementalGroupsPolicy": _UID,
    "securityContext.sysctls": _refused("a wasm guest has no kernel parameters: remove it"),
    "securityContext.windowsOptions": _refused("this is not a Windows node: remove it"),
    "serviceAccount": _honoured(),
    "serviceAccountName": _honoured(),
    "setHostnameAsFQDN": _meaningless("WASI has no host name to ask for"),
    "shareProcessNamespace": _meaningless("a guest sees no processes, its own included"),
    "subdomain": _CONTROL_PLANE,
    "terminationGracePeriodSeconds": _honoured(),
    "tolerations": _honoured("by the scheduler; of NoExecute at the node, too"),
    "topologySpreadConstraints": _SCHEDULER,
    "volumes": _INSIDE,
    "volumes.emptyDir": _INSIDE,
    "volumes.emptyDir.medium": _refused("a volume in memory is not supported: remove it", ""),
    "volumes.emptyDir.sizeLimit": _honoured("above it, the pod is evicted"),
    "volumes.emptyDir.mode": _meaningless("a guest is the only user of its volume"),
    "volumes.name": _honoured(),
    **{f"volumes.{each}": _refused(_VOLUME) for each in _VOLUMES},
}
"""Keyed by path below `spec`."""

CONTAINER: Mapping[str, Fate] = {
    "args": _honoured(),
    "command": _honoured("looked up in the image, as docs/images.md says"),
    "env": _INSIDE,
    "env.name": _honoured(),
    "env.value": _honoured(),
    "env.valueFrom": _INSIDE,
    "env.valueFrom.configMapKeyRef": _honoured(),
    "env.valueFrom.fieldRef": _honoured(),
    "env.valueFrom.fileKeyRef": _refused(_LATER),
    "env.valueFrom.resourceFieldRef": _honoured(),
    "env.valueFrom.secretKeyRef": _honoured(),
    "envFrom": _honoured(),
    "image": _honoured(),
    "imagePullPolicy": _honoured(),
    "lifecycle": _INSIDE,
    **_hook("lifecycle.postStart"),
    **_hook("lifecycle.preStop"),
    "lifecycle.stopSignal": _meaningless("wasm has no signals"),
    **_probe("livenessProbe"),
    "name": _honoured(),
    "ports": _INSIDE,
    "ports.containerPort": _honoured(
        "TCP for programs that serve HTTP; where a guest's own sockets may listen"
    ),
    "ports.hostIP": _honoured("of programs that serve HTTP; with a hostPort"),
    "ports.hostPort": _honoured(
        "on machines that are nodes by themselves; elsewhere the pod waits: docs/http.md"
    ),
    "ports.name": _honoured("by Services and probes"),
    "ports.protocol": _honoured("TCP; UDP for a guest's own sockets"),
    **_probe("readinessProbe"),
    "resizePolicy": _meaningless("limits are not resized in place by this version"),
    "resources": _INSIDE,
    "resources.claims": _refused(_LATER),
    "resources.limits": _honoured(
        "memory always; cpu where the runtime may make cgroups; a pod above its ephemeral-storage "
        "is evicted"
    ),
    "resources.requests": _SCHEDULER,
    "restartPolicy": _honoured("of an init container, Always: a sidecar"),
    "restartPolicyRules": _INSIDE,
    "restartPolicyRules.action": _refused(
        "only Restart and RestartAllContainers are known to this version",
        "Restart",
        "RestartAllContainers",
    ),
    "restartPolicyRules.exitCodes": _honoured(
        "docs/statuses.md has what RestartAllContainers does"
    ),
    "securityContext": _INSIDE,
    "securityContext.allowPrivilegeEscalation": _STRICTER,
    "securityContext.appArmorProfile": _STRICTER,
    "securityContext.capabilities": _STRICTER,
    "securityContext.privileged": _refused("a wasm guest cannot be privileged: remove it"),
    "securityContext.procMount": _STRICTER,
    "securityContext.readOnlyRootFilesystem": _honoured("always so"),
    "securityContext.runAsGroup": _UID,
    "securityContext.runAsNonRoot": _honoured("always so"),
    "securityContext.runAsUser": _UID,
    "securityContext.seLinuxOptions": _STRICTER,
    "securityContext.seccompProfile": _STRICTER,
    "securityContext.windowsOptions": _refused("this is not a Windows node: remove it"),
    **_probe("startupProbe"),
    "stdin": _refused(_LATER),
    "stdinOnce": _refused(_LATER),
    "terminationMessagePath": _honoured(
        "where no volume and no file of the image is; not of a program that serves HTTP"
    ),
    "terminationMessagePolicy": _honoured(
        "FallbackToLogsOnError: the end of the log, where that file is empty"
    ),
    "tty": _refused(_LATER),
    "volumeDevices": _refused(_LATER),
    "volumeMounts": _INSIDE,
    "volumeMounts.bindMountOptions": _refused(_LATER),
    "volumeMounts.mountPath": _honoured(),
    "volumeMounts.mountPropagation": _refused("nothing is mounted in a volume: remove it", "None"),
    "volumeMounts.name": _honoured(),
    "volumeMounts.readOnly": _honoured(),
    "volumeMounts.recursiveReadOnly": _refused("nothing is mounted in a volume", "Disabled"),
    "volumeMounts.subPath": _refused(_LATER, ""),
    "volumeMounts.subPathExpr": _refused(_LATER, ""),
    "workingDir": _meaningless("WASI has no working directory: use absolute paths"),
}
"""Keyed by path below `spec.containers[]` and `spec.initContainers[]`."""


_NOT_OF_EPHEMERAL = (
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "startupProbe",
)
"""Fields that the API server allows in no ephemeral container."""

_NO_ATTACH = (
    "nothing can be attached to a container by this version: use `kubectl debug --attach=false` "
    "without -i and -t, and read what it says with `kubectl logs`"
)

EPHEMERAL: Mapping[str, Fate] = {
    **{
        path: fate
        for path, fate in CONTAINER.items()
        if path.partition(".")[0] not in _NOT_OF_EPHEMERAL
    },
    **{
        each: _meaningless("the API server lets no ephemeral container have it")
        for each in _NOT_OF_EPHEMERAL
    },
    "stdin": _refused(_NO_ATTACH),
    "stdinOnce": _refused(_NO_ATTACH),
    "targetContainerName": _meaningless(
        "a guest sees no processes, so it shares none: it has the pod's volumes, user and grants"
    ),
    "tty": _refused(_NO_ATTACH),
}
"""Keyed by path below `spec.ephemeralContainers[]`."""


CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
"""Fields of a PodSpec that list containers."""


def refusals(spec: Mapping[str, Any]) -> tuple[desired.Refusal, ...]:
    """
    List the set fields of a decoded PodSpec that forbid a start.

    NB: those of ephemeral containers forbid no more than their own: what is
    added to a pod that runs must not end it.
    """
    return tuple(_below(spec, POD, "spec", ""))


def ephemeral_refusals(container: Mapping[str, Any]) -> tuple[desired.Refusal, ...]:
    """List the set fields that forbid an ephemeral container's start."""
    shown = f"spec.ephemeralContainers[{container['name']}]"
    return tuple(_below(container, EPHEMERAL, shown, ""))


def _below(
    value: Mapping[str, Any], rows: Mapping[str, Fate], shown: str, prefix: str
) -> Iterator[desired.Refusal]:
    for key, inner in value.items():
        fate = rows.get(prefix + key)
        if fate is None or inner is None:
            continue  # newer than this version's schema: the API server may default it; or not set
        if fate.kind is Kind.REFUSED and not _asks_nothing(inner, fate):
            yield desired.Refusal(f"{shown}.{key}", fate.note)
        elif key == "ephemeralContainers":
            continue
        elif fate.kind is Kind.INSIDE and key in CONTAINER_LISTS:
            for each in inner:
                yield from _below(each, CONTAINER, f"{shown}.{key}[{each['name']}]", "")
        elif fate.kind is Kind.INSIDE:
            for each in inner if isinstance(inner, list) else [inner]:
                if not _is_api_access(key, each):
                    yield from _below(each, rows, f"{shown}.{key}", f"{prefix}{key}.")


def _asks_nothing(value: object, fate: Fate) -> bool:
    return value in fate.harmless or value in ([], {})


def _is_api_access(key: str, value: Mapping[str, Any]) -> bool:
    """Say whether it is the volume that an admission has added."""
    return key == "volumes" and str(value["name"]).startswith(API_ACCESS_PREFIX)
