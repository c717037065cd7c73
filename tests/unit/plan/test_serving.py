"""Ports of the host: where they can be had, and how a worker is told."""

import dataclasses
from typing import Any

import pytest

from wasm_node.agent.model import desired, environment, parsing
from wasm_node.agent.model import serving as model
from wasm_node.agent.plan import serving
from wasm_node.protocol import records

HOST = environment.Place("node", "192.0.2.1", "192.0.2.1")
OPENS = "this program opens its ports by itself"
IN_A_POD = environment.Place("node", "192.0.2.1", "10.0.0.5")


def _pod(*ports: dict[str, Any]) -> desired.DesiredPod:
    container = {"name": "main", "image": "x", "ports": list(ports)}
    return parsing.pod({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [container]}})


def _port(**fields: Any) -> dict[str, Any]:
    return {"containerPort": 8080, **fields}


def _refused(*ports: dict[str, Any], place: environment.Place, serves: bool) -> str:
    (container,) = _pod(*ports).containers
    return "; ".join(str(each) for each in serving.refusals(container, place, serves=serves))


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (_port(), ()),
        (_port(hostPort=80), (records.HostPort("", 80),)),
        (_port(hostPort=8080), (records.HostPort("", 8080),)),
        (_port(hostPort=80, hostIP="127.0.0.1"), (records.HostPort("127.0.0.1", 80),)),
        (_port(hostPort=80, hostIP="0.0.0.0"), (records.HostPort("", 80),)),  # noqa: S104  # text
        (_port(hostPort=80, hostIP="::"), (records.HostPort("", 80),)),
    ],
)
def test_a_worker_serves_on_ports_of_the_host_too(
    port: dict[str, Any], expected: tuple[records.HostPort, ...]
) -> None:
    """Beside its own; no address in particular is the runtime's."""
    pod = _pod(port)
    made = serving.http(pod, pod.containers[0], serves=True)

    assert made is not None
    assert ((8080,), expected) == (made.ports, made.host_ports)


@pytest.mark.parametrize("serves", [True, False])
def test_without_a_host_port_nothing_is_refused(serves: bool) -> None:
    """A containerPort is on the runtime's address, wherever that is."""
    assert not _refused(_port(), place=IN_A_POD, serves=serves)


@pytest.mark.parametrize("serves", [True, False])
def test_a_runtime_with_an_address_of_its_own_has_no_ports_of_the_host(serves: bool) -> None:
    """Both addresses are named, and what to do instead."""
    said = _refused(_port(hostPort=8080), place=IN_A_POD, serves=serves)

    assert said == (
        "main.ports.hostPort: 8080 cannot be had: ports of wasm pods on this node are on 10.0.0.5, "
        "not on the host's 192.0.2.1; use a Service, of type NodePort for a port of every host, or "
        "a machine that is a node by itself (docs/joining.md)"
    )


@pytest.mark.parametrize(
    ("port", "serves", "why"),
    [
        (_port(hostPort=80), True, ""),
        (_port(hostPort=80, hostIP="127.0.0.1"), True, ""),
        (_port(hostPort=8080), False, ""),
        (_port(hostPort=8080, protocol="UDP"), False, ""),
        (_port(hostPort=8080, hostIP="0.0.0.0"), False, ""),  # noqa: S104  # text
        (_port(hostPort=80, hostIP="host"), True, "hostIP 'host' is not an IP address"),
        (
            _port(hostPort=80, protocol="UDP"),
            True,
            "this program serves HTTP, by TCP only: remove it",
        ),
        (_port(hostPort=80), False, f"{OPENS}: it has to be equal to containerPort"),
        (
            _port(hostPort=8080, hostIP="127.0.0.1"),
            False,
            f"{OPENS}, on what address it likes: remove hostIP",
        ),
    ],
)
def test_what_can_be_had_where_the_address_is_the_hosts(
    port: dict[str, Any], serves: bool, why: str
) -> None:
    """All for a program that serves HTTP; of others what they open anyway."""
    said = _refused(port, place=HOST, serves=serves)

    assert said == (f"main.ports.hostPort: {port['hostPort']} cannot be had: {why}" if why else "")


@pytest.mark.parametrize(
    ("ports", "wagi", "serves", "mode"),
    [
        (1, False, True, "proxy"),
        (1, True, True, "proxy"),
        (1, True, False, "wagi"),
        (1, False, False, None),
        (0, False, True, None),
        (0, True, False, None),
    ],
)
def test_what_serves_has_a_port_and_a_way(
    ports: int, wagi: bool, serves: bool, mode: str | None
) -> None:
    """A program that answers by itself does, whatever its pod is noted as."""
    pod = dataclasses.replace(_pod(*[_port()] * ports), http=model.Serving(wagi=wagi))
    made = serving.http(pod, pod.containers[0], serves=serves)

    assert (made and made.mode) == mode


@pytest.mark.parametrize(("grace_s", "linger_s"), [(30.0, 5.0), (4.0, 2.0), (0.0, 0.0)])
def test_it_lingers_for_a_part_of_its_grace(grace_s: float, linger_s: float) -> None:
    """Five seconds, or half of what there is."""
    pod = dataclasses.replace(_pod(_port()), grace_s=grace_s)
    made = serving.http(pod, pod.containers[0], serves=True)

    assert made is not None
    assert made.linger_s == linger_s
