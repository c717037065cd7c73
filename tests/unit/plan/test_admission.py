"""Which pods fit; the words are those of the kubelet's predicate.go."""

from typing import Any

import pytest

from wasm_node.agent.model import desired, environment, observed, parsing, requests
from wasm_node.agent.plan import admission

ROOM = environment.Allocatable(cpu_millis=1000, memory_bytes=2**30, pods=3)


def _asking(cpu: str = "", memory: str = "", **fields: Any) -> dict[str, Any]:
    asked = {name: text for name, text in (("cpu", cpu), ("memory", memory)) if text}
    return {"name": "c", "image": "x", "resources": {"requests": asked}, **fields}


def _pod(
    uid: str,
    *containers: dict[str, Any],
    inits: tuple[dict[str, Any], ...] = (),
    phase: str = "Pending",
    **spec: Any,
) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {"name": uid, "uid": uid},
            "spec": {
                "containers": list(containers or [_asking()]),
                "initContainers": list(inits),
                **spec,
            },
            "status": {"phase": phase},
        }
    )


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
            f"Pod was rejected: Node didn't have enough resource: {name}, "
            f"requested: {wanted}, used: {used}, capacity: {capacity}",
        )

    assert admission.admit(_pod("new", _asking(**asked)), beside, ROOM) == expected


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
    found = admission.admit(_pod("new", _asking(ports=[wanted])), [other], ROOM)

    assert found == (
        None
        if fits
        else observed.Rejected(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the "
            f"requested pod ports: {wanted['protocol']} 80 is already that of pod default/other",
        )
    )


@pytest.mark.parametrize(("policy", "fits"), [("Always", False), ("", True)])
def test_only_what_runs_on_holds_a_port(policy: str, fits: bool) -> None:
    """As GetHostPorts: sidecars do, other init containers do not."""
    init = _asking(ports=[_port(80)]) | ({"restartPolicy": policy} if policy else {})
    other = _pod("other", inits=(init,))
    over = _pod("over", _asking(ports=[_port(80)]), phase="Failed")
    found = admission.admit(_pod("new", _asking(ports=[_port(80)])), [other, over], ROOM)

    assert (found is None) is fits


def test_what_does_not_count() -> None:
    """A pod that is over has nothing, and a pod is not beside itself."""
    over = _pod("over", _asking("1"), phase="Succeeded")
    pod = _pod("new", _asking("1"))

    assert admission.admit(pod, [over, pod], ROOM) is None


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
