"""
The same pods on a kubelet's node and on a wasm node, and what statuses say.

A case is a pod and the moment at which it has settled. What cannot be the same
on two nodes (times, addresses, ids, the image) is read as `<time>`, `<address>`
and so on; everything else is compared field by field.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from e2e import pods, watching

ABSENT = "-"
"""Stands for a field that a status does not have."""
UP = "up"
"""What a guest says with whose pod something is to be done while it runs."""

_COUNTED = {"name": "data", "mountPath": "/data"}
_PLACES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"),
    (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?\b", "<address>"),
    (r"\bkube-api-access-[a-z0-9]{5}\b", "kube-api-access"),
)
_ORDER = "[]"
_NAMED_BY = ("mountPath", "name", "type")


@dataclass(frozen=True)
class Case:
    """
    One pod.

    Attributes:
        name: of it.
        pod: gives it for an image.
        settled: says whether a version of it is the one to compare.
        then: gives, for another image, the words of kubectl for what is done to
            the pod once it has said that it is `UP`.
        unscheduled: whether it names its node by itself: no scheduler would
            bind it there.
        preempted: whether a critical pod comes once it runs, for which there
            is no room beside it.
    """

    name: str
    pod: Callable[[str], dict[str, Any]]
    settled: Callable[[watching.Seen], bool]
    then: Callable[[str], tuple[str, ...]] | None = None
    unscheduled: bool = False
    preempted: bool = False


def _pod(restart: str, *containers: dict[str, Any], **spec: Any) -> Callable[[str], dict[str, Any]]:
    def made(image: str) -> dict[str, Any]:
        def finished(each: dict[str, Any]) -> dict[str, Any]:
            return {"image": image, **each}

        whole = {**spec, "containers": [finished(each) for each in containers]}
        if "initContainers" in spec:
            whole["initContainers"] = [finished(each) for each in spec["initContainers"]]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {},
            "spec": {"restartPolicy": restart, **whole},
        }

    return made


def _labelled(
    pod: Callable[[str], dict[str, Any]], label: str, value: str
) -> Callable[[str], dict[str, Any]]:
    return lambda image: pod(image) | {"metadata": {"labels": {label: value}}}


def _container(*args: str, name: str = "main", **fields: Any) -> dict[str, Any]:
    return {"name": name, "args": list(args), **fields}


_SLEEPER = "-sleep=10m"
_TCP = {"tcpSocket": {"host": "127.0.0.1", "port": 1}, "periodSeconds": 1}
_LIMITED = {"limits": {"memory": "64Mi", "cpu": "100m"}}
_UNWELL: dict[str, Any] = {
    "livenessProbe": {**_TCP, "initialDelaySeconds": 5, "failureThreshold": 1}
}
_FAILING_HOOK = {"exec": {"command": ["/guest", "-exit=1", "-sleep=1s"]}}
_UNHOOKED: dict[str, Any] = {"lifecycle": {"postStart": _FAILING_HOOK}}
_RULE = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
_GATE = {"conditionType": "example.com/open"}
_BY_LOG = {"terminationMessagePolicy": "FallbackToLogsOnError"}
_COUNTER = "-counter=/data/attempts"
_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_VOLUME = [{"name": "data", "emptyDir": {}}]


def _waits(*reasons: str, name: str = "main") -> Callable[[watching.Seen], bool]:
    return lambda seen: _state(seen, name, "waiting").get("reason") in reasons


def _runs(*names: str) -> Callable[[watching.Seen], bool]:
    return lambda seen: all(_state(seen, name, "running") for name in names)


def _ended(name: str) -> Callable[[watching.Seen], bool]:
    return lambda seen: bool(_state(seen, name, "terminated"))


def _both(*conditions: Callable[[watching.Seen], bool]) -> Callable[[watching.Seen], bool]:
    return lambda seen: all(each(seen) for each in conditions)


def _state(seen: watching.Seen, name: str, kind: str) -> dict[str, Any]:
    status = seen.pod["status"]
    listed = [each for kind in _LISTS for each in status.get(kind, ())]
    found: dict[str, Any] = next(
        (x["state"].get(kind) or {} for x in listed if x["name"] == name), {}
    )
    return found


def _again(count: int) -> Callable[[watching.Seen], bool]:
    return lambda seen: _runs("main")(seen) and pods.status(seen.pod)["restartCount"] == count


def _either(*conditions: Callable[[watching.Seen], bool]) -> Callable[[watching.Seen], bool]:
    return lambda seen: any(each(seen) for each in conditions)


def _delete(name: str) -> Callable[[str], tuple[str, ...]]:
    return lambda _: ("delete", "pod", name, "--wait=false")


def _restarted(seen: watching.Seen) -> bool:
    return bool(pods.status(seen.pod)["restartCount"] == 1)


def _resetting(*args: str) -> dict[str, Any]:
    """Give a container that restarts all others once, and then ends well."""
    return _container(
        "-exit=42",
        "-tries=2",
        _COUNTER,
        *args,
        volumeMounts=[_COUNTED],
        restartPolicy="Never",
        restartPolicyRules=[{**_RULE, "action": "RestartAllContainers"}],
    )


def _looped(seen: watching.Seen) -> bool:
    return _waits("CrashLoopBackOff")(seen) and pods.status(seen.pod)["restartCount"] == 1


CASES = (
    Case("exit-0", _pod("Never", _container()), pods.is_over),
    Case("exit-3", _pod("Never", _container("-exit=3")), pods.is_over),
    Case(
        "on-failure",
        _pod(
            "OnFailure",
            _container("-exit=1", "-tries=3", _COUNTER, volumeMounts=[_COUNTED]),
            volumes=_VOLUME,
        ),
        pods.is_over,
    ),
    Case(
        "restart-rule",
        _pod(
            "Never",
            _container(
                "-exit=42",
                "-tries=2",
                _COUNTER,
                volumeMounts=[_COUNTED],
                restartPolicy="Never",
                restartPolicyRules=[_RULE],
            ),
            volumes=_VOLUME,
        ),
        pods.is_over,
    ),
    Case(
        "restart-all",
        _pod(
            "Never",
            _resetting("-sleep=5s"),  # the other one has to run by then
            _container(_SLEEPER, name="other"),
            initContainers=[
                _container(name="init"),
                _container(_SLEEPER, name="side", restartPolicy="Always"),
            ],
            volumes=_VOLUME,
        ),
        _both(_runs("side", "other"), _ended("main"), _restarted),
    ),
    Case(
        "restart-all-over",
        _pod(
            "OnFailure",
            _resetting(),
            initContainers=[_container(name="init")],
            volumes=_VOLUME,
        ),
        pods.is_over,
    ),
    Case("crash-loop", _pod("Always", _container("-exit=1")), _looped),
    Case("running", _pod("Always", _container(_SLEEPER)), pods.is_ready),
    Case(
        "resources",
        _pod("Always", _container(_SLEEPER, resources=_LIMITED)),
        pods.is_ready,
    ),
    Case(
        "out-of-memory",
        _pod("Never", _container("-eat=256", resources=_LIMITED)),
        pods.is_over,
    ),
    Case(  # the second restart is at once, too
        "unwell",
        _pod("Always", _container(_SLEEPER, **_UNWELL)),
        _either(_waits("CrashLoopBackOff"), _again(2)),
    ),
    Case("hook-fails", _pod("Never", _container(_SLEEPER, **_UNHOOKED)), pods.is_over),
    Case("hook-loops", _pod("Always", _container(_SLEEPER, **_UNHOOKED)), _looped),
    Case(
        "image-changed",
        _pod("Always", _container(_SLEEPER, f"-say={UP}")),
        _again(1),
        then=lambda other: ("set", "image", "pod/image-changed", f"main={other}"),
    ),
    Case(
        "debugged",
        _pod("Always", _container(_SLEEPER, f"-say={UP}")),
        _ended("debug"),
        then=lambda other: (
            *("debug", "debugged", "--container=debug", f"--image={other}", "--attach=false"),
            *("--arguments-only", "--", "-exit=3"),
        ),
    ),
    Case(
        "init-fails",
        _pod("Never", _container(), initContainers=[_container("-exit=2", name="init")]),
        pods.is_over,
    ),
    Case(
        "init-loops",
        _pod("Always", _container(), initContainers=[_container("-exit=2", name="init")]),
        _waits("CrashLoopBackOff", name="init"),
    ),
    Case(
        "init-runs",
        _pod("Always", _container(), initContainers=[_container(_SLEEPER, name="init")]),
        _runs("init"),
    ),
    Case(
        "init-done",
        _pod(
            "Always",
            _container(_SLEEPER),
            initContainers=[_container(name="init"), _container(name="also")],
        ),
        pods.is_ready,
    ),
    Case(
        "sidecar",
        _pod(
            "Always",
            _container(_SLEEPER),
            initContainers=[_container(_SLEEPER, name="side", restartPolicy="Always")],
        ),
        pods.is_ready,
    ),
    Case(
        "sidecar-over",
        _pod(
            "Never",
            _container("-sleep=2s"),
            initContainers=[_container(_SLEEPER, name="side", restartPolicy="Always")],
        ),
        pods.is_over,
    ),
    Case(
        "image-missing",
        _pod("Always", _container(image="127.0.0.1:1/missing:v1")),
        _waits("ImagePullBackOff"),
    ),
    Case(
        "image-never",
        _pod("Always", _container(imagePullPolicy="Never", image="127.0.0.1:1/missing:v1")),
        _waits("ErrImageNeverPull"),
    ),
    Case(
        "config-missing",
        _pod("Always", _container(envFrom=[{"configMapRef": {"name": "missing"}}])),
        _waits("CreateContainerConfigError"),
    ),
    Case(
        "not-ready",
        _pod("Always", _container(_SLEEPER, readinessProbe=_TCP)),
        _runs("main"),
    ),
    Case(
        "not-started",
        _pod("Always", _container(_SLEEPER, startupProbe={**_TCP, "failureThreshold": 600})),
        _runs("main"),
    ),
    Case(
        "gate",
        _pod("Always", _container(_SLEEPER), readinessGates=[_GATE]),
        _runs("main"),
    ),
    Case(
        "deadline",
        _pod(
            "Never",
            _container(_SLEEPER),
            activeDeadlineSeconds=90,  # it has to run by then, however busy the machine is
            terminationGracePeriodSeconds=10,
        ),
        _both(pods.is_over, _ended("main")),
    ),
    Case(
        "deadline-before-start",
        _pod("Always", _container(image="127.0.0.1:1/missing:v1"), activeDeadlineSeconds=22),
        _both(pods.is_over, _ended("main")),  # a version that still waits comes before
    ),
    Case(
        "one-ended",
        _pod("Never", _container(_SLEEPER), _container(name="ended")),
        _both(_runs("main"), _ended("ended")),
    ),
    Case(
        "one-failed",
        _pod("Never", _container("-exit=3", name="failed"), _container("-sleep=2s")),
        pods.is_over,
    ),
    Case(
        "message",
        _pod("Never", _container("-exit=4", "-say=why", **_BY_LOG)),
        pods.is_over,
    ),
    Case(
        "deleted",
        _pod("Never", _container(_SLEEPER, f"-say={UP}"), terminationGracePeriodSeconds=10),
        pods.is_gone,
        then=_delete("deleted"),
    ),
    Case(
        "sidecar-deleted",
        _pod(
            "Never",
            _container(_SLEEPER, f"-say={UP}"),
            initContainers=[_container(_SLEEPER, name="side", restartPolicy="Always")],
            terminationGracePeriodSeconds=10,
        ),
        pods.is_gone,
        then=_delete("sidecar-deleted"),
    ),
    Case(
        "another-node",
        _pod("Always", _container(_SLEEPER), nodeSelector={"example.com/disk": "ssd"}),
        pods.is_over,
        unscheduled=True,
    ),
    Case(
        "preempted",
        _pod("Never", _container(_SLEEPER), terminationGracePeriodSeconds=10),
        pods.is_over,
        unscheduled=True,
        preempted=True,
    ),
    Case(
        "critical-too-large",
        _pod(
            "Always",
            _container(_SLEEPER, resources={"requests": {"cpu": "1000"}}),
            priorityClassName="system-cluster-critical",
        ),
        pods.is_over,
        unscheduled=True,
    ),
    Case(
        "another-system",
        _pod("Always", _container(_SLEEPER), os={"name": "windows"}),
        pods.is_over,
    ),
    Case(
        "labelled-another-system",
        _labelled(_pod("Always", _container(_SLEEPER)), "kubernetes.io/os", "windows"),
        pods.is_over,
    ),
)


@dataclass(frozen=True)
class Difference:
    """A field of a case that a kubelet and a wasm node write differently."""

    case: str
    field: str
    kubelet: str
    ours: str

    def __str__(self) -> str:
        return f"{self.case}: {self.field}: {self.kubelet} | {self.ours}"


@dataclass(frozen=True)
class Allowed:
    """A row of docs/statuses.md; `*` stands for anything in it."""

    cases: tuple[str, ...]
    field: str
    kubelet: str
    ours: str
    why: str

    def covers(self, found: Difference) -> bool:
        """Say whether it is about this difference."""
        return (
            (not self.cases or found.case in self.cases)
            and _fits(self.field, found.field)
            and _fits(self.kubelet, found.kubelet)
            and _fits(self.ours, found.ours)
        )


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def allowed(page: str) -> list[Allowed]:
    """Read the table of a page: pods, field, kubelet, wasm-node, why."""
    rows = []
    for line in page.splitlines():
        cells = [each.strip() for each in line.strip().strip("|").split(" | ")]
        if len(cells) == 5 and cells[1].startswith("`"):
            cases, field, kubelet, ours, why = (each.replace("`", "") for each in cells)
            named = () if cases == "all" else tuple(cases.split(", "))
            rows.append(Allowed(named, field, kubelet, ours, why))
    return rows


def differences(
    case: str, kubelet: Mapping[str, Any], ours: Mapping[str, Any]
) -> Iterator[Difference]:
    """Compare two versions of a pod, field by field, and the order of lists."""
    left, right = (dict(_fields("", _told(each))) for each in (kubelet, ours))
    for field in sorted(left | right):
        there, here = left.get(field, ABSENT), right.get(field, ABSENT)
        if field.endswith(_ORDER):  # what only one has is a difference of its own
            there, here = _common(there, here), _common(here, there)
        if there != here:
            yield Difference(case, field, there, here)


def _common(names: str, others: str) -> str:
    return " ".join(each for each in names.split() if each in others.split())


def _told(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status without what says on which node it was written."""
    text = json.dumps(pod["status"])
    own = {pod["metadata"]["namespace"]: "<namespace>"}
    own |= {each["image"]: "<image>" for each in _containers(pod["spec"])}
    for word in sorted(own, key=len, reverse=True):
        text = text.replace(word, own[word])
    for pattern, word in _PLACES:
        text = re.sub(pattern, word, text)
    made: dict[str, Any] = json.loads(text)
    return made


def _containers(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [each for kind in kinds for each in spec.get(kind, ())]


def _fields(path: str, value: object) -> Iterator[tuple[str, str]]:
    """
    Yield every leaf with where it is, names in the place of numbers.

    Of each list there is also `LIST[]`: its names in their order.
    """
    name = path.rpartition(".")[2]
    if name in ("containerID", "imageID") and value:
        yield path, "<id>"
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _fields(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, list) and value:
        names = [_name(inner, index) for index, inner in enumerate(value)]
        yield f"{path}{_ORDER}", " ".join(names)
        for each, inner in zip(names, value, strict=True):
            yield from _fields(f"{path}[{each}]", inner)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def _name(item: object, index: int) -> str:
    if isinstance(item, dict):
        return str(next((item[key] for key in _NAMED_BY if key in item), index))
    return str(index)
