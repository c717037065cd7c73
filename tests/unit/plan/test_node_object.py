"""The Node as it is written, to the word."""

import dataclasses
from typing import Any

import pytest

from tests.fakes import hosts
from wasm_node.agent.model import thresholds
from wasm_node.agent.plan import node

NOW = 1_800_000_000.0
TIME = "2027-01-15T08:00:00Z"
WELL = node.Health("")


def _condition(kind: str, value: str, reason: str, message: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": TIME,
        "lastTransitionTime": TIME,
    }


FINE = [
    _condition(
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "wasm-node has sufficient memory available",
    ),
    _condition(
        "DiskPressure",
        "False",
        "KubeletHasNoDiskPressure",
        "wasm-node has no disk pressure",
    ),
    _condition(
        "PIDPressure", "False", "KubeletHasSufficientPID", "wasm-node has sufficient PID available"
    ),
    _condition("Ready", "True", "KubeletReady", "wasm-node is posting ready status"),
]


def _status(**change: Any) -> dict[str, Any]:
    figures = dataclasses.replace(hosts.SMALL, **change)
    return node.status(hosts.IDENTITY, figures, WELL, {}, NOW)


def test_the_whole_object() -> None:
    """Labels, taints and address are those of docs/architecture.md."""
    assert node.new(hosts.IDENTITY, hosts.SMALL, WELL, NOW) == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "wasm-a",
            "labels": {
                "a": "b",
                "kubernetes.io/arch": "wasm32-wasi",
                "kubernetes.io/os": "wasi",
                "kubernetes.io/hostname": "wasm-a",
                "node.kubernetes.io/exclude-from-external-load-balancers": "true",
                "wasm-node.dev/world-wasi-cli-p1": "true",
                "wasm-node.dev/world-wasi-cli-p2": "true",
            },
        },
        "spec": {
            "taints": [
                {"key": "kubernetes.io/arch", "value": "wasm32-wasi", "effect": "NoSchedule"},
                {"key": "kubernetes.io/arch", "value": "wasm32-wasi", "effect": "NoExecute"},
            ],
            "providerID": "wasm-node://c/wasm-a",
        },
        "status": {
            "capacity": {
                "cpu": "2", "memory": "1048576Ki", "ephemeral-storage": "976562Ki", "pods": "128",
            },
            "allocatable": {
                "cpu": "2", "memory": "946176Ki", "ephemeral-storage": "976562Ki", "pods": "128",
            },
            "addresses": [{"type": "Hostname", "address": "10.1.1.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "declaredFeatures": ["RestartAllContainersOnContainerExits"],
            "conditions": FINE,
            "nodeInfo": {
                "architecture": "wasm32-wasi",
                "operatingSystem": "wasi",
                "kubeletVersion": "v1.37.0+wasm-node.0.1.0",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "wasmtime://50.0.1",
                "kernelVersion": "6.1",
                "osImage": "Debian",
                "machineID": "m",
                "systemUUID": "m",
                "bootID": "b",
            },
        },
    }  # fmt: skip


def test_a_node_of_no_provider_has_no_id() -> None:
    """An empty providerID could never be changed again."""
    bare = dataclasses.replace(hosts.IDENTITY, provider_id="")

    assert "providerID" not in node.new(bare, hosts.SMALL, WELL, NOW)["spec"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (
            0,
            _condition(
                "MemoryPressure",
                "True",
                "KubeletHasInsufficientMemory",
                "wasm-node has insufficient memory available",
            ),
        ),
        (
            1,
            _condition(
                "DiskPressure", "True", "KubeletHasDiskPressure", "wasm-node has disk pressure"
            ),
        ),
        (
            2,
            _condition(
                "PIDPressure",
                "True",
                "KubeletHasInsufficientPID",
                "wasm-node has insufficient PID available",
            ),
        ),
    ],
    ids=["memory", "disk", "pids"],
)
def test_pressure_in_words(index: int, expected: dict[str, str]) -> None:
    """Reasons are the kubelet's (nodestatus/setters.go); others stay fine."""
    health = node.Health("", frozenset({expected["type"]}))
    made = node.status(hosts.IDENTITY, hosts.SMALL, health, {}, NOW)["conditions"]

    assert made == [*FINE[:index], expected, *FINE[index + 1 :]]


def test_a_problem_in_words() -> None:
    """The condition says what the matter is (setters.go ReadyCondition)."""
    away = node.Health("the runtime is away")
    made = node.status(hosts.IDENTITY, hosts.SMALL, away, {}, NOW)

    assert made["conditions"][3] == _condition(
        "Ready", "False", "KubeletNotReady", "the runtime is away"
    )


def test_before_the_runtime_has_spoken_no_version_is_told() -> None:
    """What is not known yet is left empty, not made up."""
    assert _status(room=None)["nodeInfo"]["containerRuntimeVersion"] == ""


@pytest.mark.parametrize(
    ("held", "since"),
    [
        ({"status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}, "2020-01-01T00:00:00Z"),
        ({"status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z"}, TIME),
        ({"status": "True"}, TIME),
        ({"status": "True", "lastTransitionTime": None}, TIME),
    ],
)
def test_since_when(held: dict[str, Any], since: str) -> None:
    """Since the status changed; now, where nobody knows."""
    made = node.status(hosts.IDENTITY, hosts.SMALL, WELL, {"Ready": held}, NOW)

    assert made["conditions"][3]["lastTransitionTime"] == since


@pytest.mark.parametrize(
    ("max_pods", "room", "expected"),
    [
        (0, {}, (2000, 924 * 2**20, 128)),
        (7, {}, (2000, 924 * 2**20, 7)),
        (0, {"pids_max": 100}, (2000, 924 * 2**20, 20)),
        (0, {"memory_bytes": 99 * 2**20}, (2000, 0, 12)),
        (0, {"memory_bytes": 100 * 2**20 + 5}, (2000, 5, 12)),
    ],
)
def test_what_pods_may_use(
    max_pods: int, room: dict[str, int], expected: tuple[int, int, int]
) -> None:
    """All but what the runtime needs, and never less than nothing."""
    made = node.allocatable(max_pods, dataclasses.replace(hosts.ROOM, **room))  # type: ignore[arg-type]  # by name

    assert (made.cpu_millis, made.memory_bytes, made.pods) == expected


@pytest.mark.parametrize(
    ("metadata", "ours"),
    [
        ({"metadata": {"labels": {"kubernetes.io/arch": "wasm32-wasi"}}}, True),
        ({"metadata": {"labels": {"kubernetes.io/arch": "amd64"}}}, False),
        ({"metadata": {"labels": None}}, False),
        ({"metadata": {}}, False),
        ({}, False),
    ],
)
def test_which_node_is_ours(metadata: dict[str, Any], ours: bool) -> None:
    """One of our architecture, and no other, may be taken over."""
    assert node.is_ours(metadata) is ours


def test_what_makes_a_difference() -> None:
    """Any word but a condition's times; also one that is not there any more."""
    made = _status()
    later = node.status(hosts.IDENTITY, hosts.SMALL, WELL, {}, NOW + 60)
    changes = [{"status": "Unknown"}, {"reason": "x"}, {"message": "x"}, {"type": "x"}]
    others = [{**made, "conditions": [made["conditions"][0] | each]} for each in changes]
    first = {**made, "conditions": made["conditions"][:1]}

    assert not node.differs(made, later)
    assert all(node.differs(first, each) for each in others)
    assert node.differs(made, {**made, "addresses": []})
    assert node.differs(made, {})


@pytest.mark.parametrize(
    ("held", "denied"),
    [
        ({}, False),
        ({"Ready": {"status": "True"}}, False),
        ({"Ready": {"status": "Unknown"}}, True),
        ({"Ready": {}}, True),
        ({"Ready": {"status": "True"}, "DiskPressure": {"status": "Unknown"}}, True),
        ({"NetworkUnavailable": {"status": "True"}}, False),
    ],
)
def test_when_the_api_server_says_otherwise(held: dict[str, Any], denied: bool) -> None:
    """A condition of ours has another status there; others are not ours."""
    assert node.is_denied(_status(), held) is denied


def _label(name: str) -> str:
    return f"wasm-node.dev/world-{name}"


@pytest.mark.parametrize(
    ("labels", "worlds", "change"),
    [
        (None, (), {}),  # the runtime has not said
        (
            None,
            ("wasi:cli/command@0.3", "wasi:http/proxy@0.2", "wasi:http/service@0.3"),
            {
                _label("wasi-cli-p3"): "true",
                _label("wasi-http-p2"): "true",
                _label("wasi-http-p3"): "true",
            },
        ),
        (
            {_label("wasi-cli-p1"): "true", _label("wasi-cli-p2"): "true"},
            ("wasi_snapshot_preview1",),
            {_label("wasi-cli-p2"): None},
        ),
        (
            {_label("wasi-cli-p1"): "true", _label("wasi-cli-p2"): "true"},
            ("wasi_snapshot_preview1", "wasi:cli/command@0.2"),
            {},
        ),
    ],
)
def test_labels_follow_what_the_engine_runs(
    labels: dict[str, str] | None, worlds: tuple[str, ...], change: dict[str, str | None]
) -> None:
    """What it runs has a label, and nothing else; the rest stays."""
    room = dataclasses.replace(hosts.ROOM, worlds=worlds)

    assert node.worlds({"metadata": {"labels": labels}}, room) == change
    assert node.worlds({"metadata": {"labels": labels}}, None) == {}


def test_more_is_never_spared_than_there_is() -> None:
    """What is kept free of everything leaves nothing, not less."""
    keep = {"memory.available": "100Gi", "nodefs.available": "100Gi", "pid.available": "99k"}
    rules = thresholds.Rules(thresholds.parse(keep, {}, {}, {}))
    identity = dataclasses.replace(hosts.IDENTITY, eviction=rules)
    made = node.status(identity, hosts.SMALL, WELL, {}, NOW)["allocatable"]

    assert (made["memory"], made["ephemeral-storage"], made["pods"]) == ("0Ki", "0Ki", "0")
