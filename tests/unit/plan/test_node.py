"""What the node says of itself."""

import dataclasses
from typing import Any

import pytest

from tests.fakes import hosts
from wasm_node.agent.model import actions, host, thresholds
from wasm_node.agent.plan import node

NOW = 1_800_000_000.0
IDENTITY = hosts.IDENTITY
HOST = hosts.SMALL
WELL = node.Health("")


def _conditions(host: host.Figures, health: node.Health = WELL) -> dict[str, str]:
    made = node.status(IDENTITY, host, health, {}, NOW)
    return {each["type"]: each["status"] for each in made["conditions"]}


def test_it_publishes_one_address_and_never_an_internal_ip() -> None:
    """Other hosts' CNI daemons read InternalIP; a second one harms them."""
    made = node.status(IDENTITY, HOST, WELL, {}, NOW)

    assert [{"type": "Hostname", "address": "10.1.1.1"}] == made["addresses"]


def test_it_is_not_a_linux_node() -> None:
    """DaemonSets made for Linux select os=linux and tolerate every taint."""
    made = node.new(IDENTITY, HOST, WELL, NOW)
    labels = made["metadata"]["labels"]

    assert ("wasm32-wasi", "wasi", "b") == (
        labels["kubernetes.io/arch"], labels["kubernetes.io/os"], labels["a"]
    )  # fmt: skip
    assert {"NoSchedule", "NoExecute"} == {each["effect"] for each in made["spec"]["taints"]}


@pytest.mark.parametrize("condition", thresholds.CONDITIONS)
def test_pressure(condition: str) -> None:
    """What there is pressure of is told, and nothing else."""
    made = _conditions(HOST, node.Health("", frozenset({condition})))

    assert {condition} == {kind for kind, value in made.items() if value == "True"} - {"Ready"}


def test_pressure_stays_until_somebody_has_looked() -> None:
    """A new agent takes no taint away before it knows better."""
    held = {"DiskPressure": {"status": "True"}, "MemoryPressure": {"status": "False"}}
    made = node.status(IDENTITY, HOST, node.Health("no runtime"), held, NOW)["conditions"]
    told = {each["type"]: each["status"] for each in made}

    assert ("True", "False", "False") == (
        told["DiskPressure"], told["MemoryPressure"], told["PIDPressure"]
    )  # fmt: skip


def test_pods_are_not_offered_what_they_would_be_evicted_for() -> None:
    """Hard thresholds come off memory and disk, and off what tasks allow."""
    rules = thresholds.Rules(thresholds.parse({}, {}, {}, {}))
    identity = dataclasses.replace(IDENTITY, eviction=rules)
    made = node.status(identity, HOST, WELL, {}, NOW)
    plain = node.status(IDENTITY, HOST, WELL, {}, NOW)

    def kib(status: dict[str, Any], name: str) -> int:
        return int(status["allocatable"][name].removesuffix("Ki"))

    assert kib(plain, "memory") - kib(made, "memory") == 100 * 1024
    assert kib(plain, "ephemeral-storage") - kib(made, "ephemeral-storage") == 10**8 // 1024
    assert made["capacity"]["memory"] == plain["capacity"]["memory"]
    few = dataclasses.replace(hosts.ROOM, pids_max=100)
    assert (20, 18) == (node.allocatable(0, few).pods, node.allocatable(0, few, rules).pods)


def test_a_problem_makes_it_not_ready() -> None:
    """A node whose runtime is away says so."""
    assert _conditions(HOST, node.Health("the runtime is away"))["Ready"] == "False"


def test_a_condition_keeps_its_transition_time() -> None:
    """The time of a change is not the time of a heartbeat."""
    held = {"Ready": {"status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}}

    made = node.status(IDENTITY, HOST, WELL, held, NOW)
    ready = next(each for each in made["conditions"] if each["type"] == "Ready")

    assert ready["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert ready["lastHeartbeatTime"] != "2020-01-01T00:00:00Z"


def test_pods_follow_from_memory_and_tasks() -> None:
    """The capacity for pods is the smaller of what memory and tasks allow."""
    few = dataclasses.replace(HOST, room=dataclasses.replace(hosts.ROOM, pids_max=100))

    made = [node.status(IDENTITY, host, WELL, {}, NOW)["capacity"] for host in (HOST, few)]

    assert ["128", "20"] == [each["pods"] for each in made]


@pytest.mark.parametrize(
    ("server", "expected"),
    [(("1", "37"), "v1.37.0"), (("1", "34+"), "v1.34.0"), (("1", "40"), "v1.37.0"),
     (("", ""), "v1.37.0"), (("1", "34?"), "v1.37.0")],
)  # fmt: skip
def test_it_is_never_newer_than_the_api_server(server: tuple[str, str], expected: str) -> None:
    """Kubernetes' skew policy forbids a node newer than its API server."""
    assert expected == node.kubelet_version(*server)


def test_only_times_make_no_difference() -> None:
    """A heartbeat alone is no reason for a write."""
    first, later = (node.status(IDENTITY, HOST, WELL, {}, NOW + each) for each in (0, 60))

    assert not node.differs(first, later)
    assert node.differs(node.status(IDENTITY, HOST, node.Health("x"), {}, NOW), first)


def test_capacity_is_what_the_runtime_may_use() -> None:
    """Pods run in the runtime's control group: its limits are theirs."""
    made = node.status(IDENTITY, HOST, WELL, {}, NOW)

    assert {"cpu": "2", "memory": "1048576Ki", "ephemeral-storage": "976562Ki", "pods": "128"} == (
        made["capacity"]
    )
    assert made["allocatable"]["memory"] == "946176Ki"


def test_part_of_a_core_is_written_as_such() -> None:
    """A runtime limited to one core and a half offers no two."""
    room = dataclasses.replace(hosts.ROOM, cpu_millis=1500)
    made = node.status(IDENTITY, dataclasses.replace(HOST, room=room), WELL, {}, NOW)

    assert made["capacity"]["cpu"] == "1500m"


def test_a_runtime_not_heard_of_leaves_capacity_as_it_is() -> None:
    """An agent that restarts must not shrink the node for a moment."""
    made = node.status(IDENTITY, dataclasses.replace(HOST, room=None), WELL, {}, NOW)

    assert {"capacity", "allocatable"}.isdisjoint(made)


@pytest.mark.parametrize(
    ("condition", "fine", "bad"),
    [
        ("MemoryPressure", "NodeHasSufficientMemory", "NodeHasInsufficientMemory"),
        ("DiskPressure", "NodeHasNoDiskPressure", "NodeHasDiskPressure"),
        ("PIDPressure", "NodeHasSufficientPID", "NodeHasInsufficientPID"),
        ("Ready", "NodeNotReady", "NodeReady"),
    ],
)
def test_a_change_of_a_condition_is_an_event(condition: str, fine: str, bad: str) -> None:
    """With the reasons and words of setters.go and recordNodeStatusEvent."""
    for status, reason in (("False", fine), ("True", bad)):
        made = {"conditions": [{"type": condition, "status": status}]}
        other = {condition: {"status": "Unknown"}}
        same = {condition: {"status": status}}
        expected = actions.Event(reason, f"Node n status is now: {reason}")

        assert node.events("n", other, made) == [expected]
        assert node.events("n", same, made) == []
        assert node.events("n", {}, made) == ([] if condition == "Ready" else [expected])
