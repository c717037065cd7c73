"""Which pods fit; the words are those of the kubelet's predicate.go."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit import summing
from wasm_node.agent.model import (
    desired,
    environment,
    manifest,
    observed,
    parsing,
    requests,
)
from wasm_node.agent.plan import admission, preemption
from wasm_node.protocol import records

ROOM = environment.Allocatable(cpu_millis=1000, memory_bytes=2**30, pods=3)


def _node(
    *taints: dict[str, str],
    allocatable: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> manifest.Node:
    return parsing.node(
        {
            "metadata": {"name": "wasm-a", "labels": labels or {}},
            "spec": {"taints": list(taints)},
            "status": {"allocatable": allocatable or {}},
        }
    )


NODE = _node()


def _asking(cpu: str = "", memory: str = "", **fields: Any) -> dict[str, Any]:
    asked = {name: text for name, text in (("cpu", cpu), ("memory", memory)) if text}
    return {"name": "c", "image": "x", "resources": {"requests": asked}, **fields}


def _pod(
    uid: str,
    *containers: dict[str, Any],
    inits: tuple[dict[str, Any], ...] = (),
    phase: str = "Pending",
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {"name": uid, "uid": uid, "labels": labels or {}},
            "spec": {
                "containers": list(containers or [_asking()]),
                "initContainers": list(inits),
                **spec,
            },
            "status": {"phase": phase},
        }
    )


def _admit(
    pod: desired.DesiredPod,
    others: Sequence[desired.DesiredPod],
    on: manifest.Node = NODE,
) -> observed.Rejected | admission.Lacking | None:
    """Judge a pod that comes to those of the others that have a place."""
    there = [each for each in others if admission.has_place(each, observed.ObservedPod(1.0))]
    return admission.admit(pod, summing.taken_by(there, pod), ROOM, on)


@pytest.mark.parametrize(
    ("asked", "others", "why"),
    [
        ({"cpu": "1"}, [], None),
        ({"cpu": "1001m"}, [], ("cpu", 1001, 0, 1000)),
        ({"cpu": "501m"}, [{"cpu": "500m"}], ("cpu", 501, 500, 1000)),
        ({"cpu": "500m"}, [{"cpu": "500m"}], None),
        ({"memory": "1Gi"}, [{"memory": "1"}], ("memory", 2**30, 1, 2**30)),
        ({}, [{"cpu": "4"}, {"memory": "4Gi"}], None),
        ({"cpu": "4"}, [{}, {}, {}], ("pods", 1, 3, 3)),
    ],
)
def test_what_fits(
    asked: dict[str, str], others: list[dict[str, str]], why: tuple[str, int, int, int] | None
) -> None:
    """What is asked for, and what the others have, is no more than there is."""
    beside = [_pod(f"u{index}", _asking(**each)) for index, each in enumerate(others)]
    expected = None
    if why:
        name, wanted, used, capacity = why
        expected = observed.Rejected(
            f"OutOf{name}",
            f"Node didn't have enough resource: {name}, "
            f"requested: {wanted}, used: {used}, capacity: {capacity}",
        )

    assert _admit(_pod("new", _asking(**asked)), beside) == expected


def _port(
    host_port: int, host_ip: str = "", protocol: str = "TCP", own: int = 80
) -> dict[str, Any]:
    asked = {"containerPort": own, "hostPort": host_port, "protocol": protocol}
    return asked | ({"hostIP": host_ip} if host_ip else {})


@pytest.mark.parametrize(
    ("wanted", "held", "fits"),
    [
        (_port(80), _port(80), False),
        (_port(80, own=1), _port(80, own=2), False),
        (_port(80), _port(81), True),
        (_port(80), _port(80, protocol="UDP"), True),
        (_port(80, "127.0.0.1"), _port(80), False),
        (_port(80), _port(80, "127.0.0.1"), False),
        (_port(80, "127.0.0.1"), _port(80, "0.0.0.0"), False),  # noqa: S104  # nothing is bound
        (_port(80, "127.0.0.1"), _port(80, "127.0.0.1"), False),
        (_port(80, "127.0.0.1"), _port(80, "192.0.2.1"), True),
        (_port(0), _port(0), True),
    ],
)
def test_a_port_of_the_host_is_one_pods(
    wanted: dict[str, Any], held: dict[str, Any], fits: bool
) -> None:
    """As HostPortInfo.CheckConflict has it; both pods are named."""
    other = _pod("other", _asking(ports=[held]))
    found = _admit(_pod("new", _asking(ports=[wanted])), [other])

    assert found == (
        None
        if fits
        else observed.Rejected(
            "NodePorts",
            "Predicate NodePorts failed: node(s) didn't have free ports for the "
            f"requested pod ports: {wanted['protocol']} 80 is already that of pod default/other",
        )
    )


@pytest.mark.parametrize(("policy", "fits"), [("Always", False), ("", True)])
def test_only_what_runs_on_holds_a_port(policy: str, fits: bool) -> None:
    """As GetHostPorts: sidecars do, other init containers do not."""
    init = _asking(ports=[_port(80)]) | ({"restartPolicy": policy} if policy else {})
    other = _pod("other", inits=(init,))
    over = _pod("over", _asking(ports=[_port(80)]), phase="Failed")
    found = _admit(_pod("new", _asking(ports=[_port(80)])), [other, over])

    assert (found is None) is fits


def test_one_port_that_is_not_free_is_enough() -> None:
    """Whichever of them it is, and however many the other pod has."""
    other = _pod("other", _asking(ports=[_port(81), _port(82)]))
    found = _admit(_pod("new", _asking(ports=[_port(80), _port(82), _port(83)])), [other])

    assert isinstance(found, observed.Rejected)
    assert "TCP 82 is already that of pod default/other" in found.message


def test_what_does_not_count() -> None:
    """A pod that is over has nothing, and a pod is not beside itself."""
    over = _pod("over", _asking("1"), phase="Succeeded")
    pod = _pod("new", _asking("1"))

    assert _admit(pod, [over, pod]) is None


@pytest.mark.parametrize(
    ("inits", "cpu_millis"),
    [
        ([], 500),
        ([("400m", "")], 500),
        ([("700m", "")], 700),
        ([("300m", "Always")], 800),
        ([("300m", "Always"), ("400m", "")], 800),
        ([("300m", "Always"), ("600m", "")], 900),
        ([("600m", ""), ("300m", "Always")], 800),
    ],
)
def test_what_a_pod_asks_for(inits: list[tuple[str, str]], cpu_millis: int) -> None:
    """All containers, and sidecars beside them; or the largest init."""
    made = tuple(
        _asking(cpu) | ({"restartPolicy": policy} if policy else {}) for cpu, policy in inits
    )
    pod = _pod("u", _asking("200m"), _asking("300m"), inits=made)

    assert pod.asks == requests.Requests(cpu_millis=cpu_millis)


def test_limits_and_overhead_count() -> None:
    """A limit alone is a request; a RuntimeClass adds its overhead."""
    limited = {"name": "c", "image": "x", "resources": {"limits": {"cpu": "1", "memory": "1Mi"}}}
    pod = _pod("u", limited, overhead={"cpu": "5m", "memory": "1Ki"})

    assert pod.asks == requests.Requests(1005, 2**20 + 2**10)


@pytest.mark.parametrize(
    ("asked", "held", "told", "fits"),
    [
        ("6Ki", "4Ki", "10Ki", True),
        ("6Ki", "4Ki", "9Ki", False),
        ("", "4Ki", "1Ki", True),
        ("6Ki", "4Ki", "", True),
    ],
)
def test_space_on_disk(asked: str, held: str, told: str, fits: bool) -> None:
    """It is what the Node says, once it says it; who asks for none has room."""
    mine, other = (
        _pod(name, _asking(resources={"requests": {"ephemeral-storage": each} if each else {}}))
        for name, each in (("new", asked), ("other", held))
    )
    node = _node(allocatable={"ephemeral-storage": told} if told else {})
    found = _admit(mine, [other], node)

    assert found == (
        None
        if fits
        else observed.Rejected(
            "OutOfephemeral-storage",
            "Node didn't have enough resource: ephemeral-storage, "
            "requested: 6144, used: 4096, capacity: 9216",
        )
    )


OS_FIELD = observed.Rejected(
    "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
)
OS_LABEL = observed.Rejected(
    "PodOSSelectorNodeLabelDoesNotMatch",
    "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
)
AFFINITY = observed.Rejected(
    "NodeAffinity",
    "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
)
TAINT = observed.Rejected(
    "TaintToleration",
    "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
)
SYSTEM = "kubernetes.io/os"
WASI = {SYSTEM: "wasi"}


@pytest.mark.parametrize(
    ("pod", "rejected"),
    [
        ({}, None),
        ({"os": {"name": "wasi"}}, None),
        ({"os": {"name": "linux"}}, OS_FIELD),
        ({"os": {"name": "windows"}}, OS_FIELD),
        ({"labels": WASI}, None),
        ({"labels": {SYSTEM: "linux"}}, OS_LABEL),
        ({"labels": {SYSTEM: "linux"}, "os": {"name": "linux"}}, OS_LABEL),
        ({"labels": {"os": "linux"}}, None),
        ({"nodeSelector": WASI}, None),
        ({"nodeSelector": {SYSTEM: "linux"}}, AFFINITY),
    ],
)
def test_the_system_of_a_pod(pod: dict[str, Any], rejected: observed.Rejected | None) -> None:
    """
    It is ours: rejectPodAdmissionBasedOnOSSelector and ...OnOSField.

    The kubelet looks at a label of the pod, and asks no Node for its system; a
    nodeSelector is about the Node's label, as every other.
    """
    node = _node(labels=WASI)

    assert _admit(_pod("new", **pod), [], node) == rejected


def test_the_system_is_no_matter_of_the_nodes_label() -> None:
    """Whatever somebody has made of it (labels[LabelOSStable] = GOOS)."""
    odd = _node(labels={SYSTEM: "linux"})

    assert _admit(_pod("new", labels=WASI), [], odd) is None
    assert _admit(_pod("new", labels={SYSTEM: "linux"}), [], odd) == OS_LABEL


@pytest.mark.parametrize(
    ("taints", "fits"),
    [
        ([], True),
        ([("a", "NoExecute")], True),
        ([("b", "NoSchedule"), ("c", "PreferNoSchedule")], True),
        ([("b", "NoExecute")], False),
        ([("a", "NoExecute"), ("b", "NoSchedule"), ("b", "NoExecute")], False),
    ],
)
def test_taints_that_are_not_tolerated(taints: list[tuple[str, str]], fits: bool) -> None:
    """Only NoExecute counts (generalFilter); each has to be tolerated."""
    pod = _pod("new", tolerations=[{"key": "a", "operator": "Exists"}])
    node = _node(*({"key": key, "effect": effect} for key, effect in taints))

    assert _admit(pod, [], node) == (None if fits else TAINT)


CRITICAL = records.CRITICAL_PRIORITY


def test_room_is_not_missing_for_a_critical_pod() -> None:
    """It is told how much there has to be, if any (HandleAdmissionFailure)."""
    small, large = _pod("small", _asking("100m")), _pod("large", _asking("900m"))
    fits, new = (_pod("new", _asking(cpu), priority=CRITICAL) for cpu in ("0", "200m"))

    assert _admit(fits, [small, large]) is None
    assert _admit(new, [small, large]) == admission.Lacking({"cpu": 200})


def test_just_what_is_missing_has_to_come_back() -> None:
    """As GetInsufficientAmount, of each resource that is short."""
    first, second = _pod("first", _asking("600m", "1Gi")), _pod("second", _asking("300m"))
    pod = _pod("new", _asking("401m", "1"), priority=CRITICAL)
    disk = _asking(resources={"requests": {"ephemeral-storage": "9"}})
    node = _node(allocatable={"ephemeral-storage": "12"})
    beside = [_pod("none"), _pod("none-either"), _pod("disk", disk)]

    assert _admit(pod, [first, second]) == admission.Lacking({"cpu": 301, "memory": 1})
    assert _admit(_pod("new", disk, priority=CRITICAL), beside, node) == admission.Lacking(
        {"pods": 1, "ephemeral-storage": 6}
    )


@pytest.mark.parametrize(
    ("spec", "ports", "reason"),
    [
        ({"os": {"name": "linux"}, "nodeSelector": {"disk": "ssd"}}, (), "PodOSNotSupported"),
        ({"nodeSelector": {"disk": "ssd"}}, (80,), "NodeAffinity"),
        ({}, (80,), "NodePorts"),
        ({}, (), "TaintToleration"),
    ],
)
def test_nobody_ends_where_that_would_not_help(
    spec: dict[str, Any], ports: tuple[int, ...], reason: str
) -> None:
    """A critical pod's other reasons come first (HandleAdmissionFailure)."""
    tainted = _node({"key": "a", "effect": "NoExecute"})
    other = _pod("other", _asking("1", ports=[_port(80)]))
    pod = _pod(
        "new", _asking("1", ports=[_port(each) for each in ports]), priority=CRITICAL, **spec
    )
    found = _admit(pod, [other], tainted)

    assert isinstance(found, observed.Rejected)
    assert found.reason == reason


def test_the_first_reason_is_told() -> None:
    """Its system, its room, its node, its ports, its node's taints: in turn."""
    system: dict[str, Any] = {"os": {"name": "linux"}}
    label: dict[str, Any] = {"nodeSelector": {"disk": "ssd"}}
    ports = _asking(ports=[_port(80)])
    other, tainted = _pod("other", ports), _node({"key": "a", "effect": "NoExecute"})

    def reason(pod: desired.DesiredPod) -> str:
        found = _admit(pod, [other], tainted)
        assert isinstance(found, observed.Rejected)
        return found.reason

    assert [
        reason(_pod("new", ports | _asking("2"), ports, **label, **system)),
        reason(_pod("new", ports, _asking("2"), **label)),
        reason(_pod("new", ports, **label)),
        reason(_pod("new", ports)),
        reason(_pod("new")),
    ] == ["PodOSNotSupported", "OutOfcpu", "NodeAffinity", "NodePorts", "TaintToleration"]


PORTS = observed.Rejected("NodePorts", "m")
NO_CPU, NO_SET = (observed.Rejected(x, "m") for x in ("OutOfcpu", "UnexpectedAdmissionError"))
NEED = preemption.Need([[_pod("may-go")]], {"cpu": 1})


@pytest.mark.parametrize(
    ("found", "by_node", "by_room"),
    [
        (None, False, False),
        (AFFINITY, True, False),
        (TAINT, True, False),
        (OS_FIELD, False, False),
        (PORTS, False, False),
        (NO_CPU, False, True),
        (NO_SET, False, True),
        (NEED, True, True),
    ],
)
def test_what_may_change(found: admission.Verdict, by_node: bool, by_room: bool) -> None:
    """
    Labels and taints come and go, and so do pods; what a pod is does not.

    Nobody has to end by labels and taints that may be others by now.
    """
    assert (admission.is_by_node(found), admission.is_by_room(found)) == (by_node, by_room)


def _seen(fact: str, *, code: int = 0, evicted: bool = False) -> observed.ObservedPod:
    attempt = records.AttemptId("p", "c", 0)
    why = observed.Evicted("why", 1.0, 1.0) if evicted else None
    if not fact:
        return observed.ObservedPod(1.0, evicted=why)
    record = records.ExitRecord(code, records.EndedBy.ITSELF, "Completed", "", 1, 2)
    facts: dict[str, observed.Fact] = {
        "runs": observed.Running(attempt, 7, 1.0),
        "ended": observed.Ended(attempt, record),
    }
    container = observed.ObservedContainer(current=facts.get(fact))
    return observed.ObservedPod(1.0, {"c": container}, evicted=why)


@pytest.mark.parametrize(
    ("pod", "seen", "expected"),
    [
        ({}, _seen(""), True),
        ({}, _seen("waits"), True),
        ({}, _seen("runs"), True),
        ({}, _seen("ended"), True),  # it is started again
        ({"restartPolicy": "Never"}, _seen("ended"), False),
        ({"restartPolicy": "Never"}, _seen("ended", code=1), False),
        ({"restartPolicy": "OnFailure"}, _seen("ended", code=1), True),
        ({}, _seen("", evicted=True), False),
        ({}, _seen("ended", evicted=True), False),
        ({}, _seen("runs", evicted=True), True),
        ({"phase": "Failed"}, _seen("runs"), True),
        ({"phase": "Failed"}, _seen("ended"), False),
        ({"phase": "Failed"}, _seen(""), False),
    ],
)
@pytest.mark.parametrize("deleting", [False, True])
def test_what_takes_room(
    pod: dict[str, Any], seen: observed.ObservedPod, expected: bool, deleting: bool
) -> None:
    """What runs, and what is still to run; whatever the API server was told."""
    wanted = _pod("p", **pod)
    going = wanted.ending(30.0) if deleting else wanted
    runs = any(isinstance(x.current, observed.Running) for x in seen.containers.values())

    assert admission.takes_room(going, seen) is (runs if deleting else expected)


def test_nothing_comes_to_a_node_that_shuts_down() -> None:
    """In the words of Admit (nodeshutdown_manager_linux.go)."""
    why = observed.Rejected("NodeShutdown", "Pod was rejected as the node is shutting down.")

    assert why == admission.at_shutdown(ending=True)
    assert admission.at_shutdown(ending=False) is None
