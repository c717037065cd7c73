"""
`wasm-node controller` on a real control plane: who becomes a node, and stays.

Tokens, requests, signatures and rights are real; `joining` says what is not.
Each test has hosts of its own; the last one removes them all.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography import x509

from e2e import asking
from e2e import joining as beds
from e2e.cluster import ControlPlane, Guard, wait_until
from e2e.joining import Joining


@pytest.fixture(scope="module")
def joining(
    guard: Guard, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Joining]:
    """Give the cluster of these tests."""
    with Joining.start(guard, tmp_path_factory.mktemp("controller"), plane) as started:
        yield started


def test_an_agent_becomes_the_node_of_its_host(joining: Joining) -> None:
    """A token bound to a pod on the host is enough, and the Node is marked."""
    asked = joining.host("ctl-first").ask("first", "wasm-ctl-first")

    kind, reason, message = asked.decision()

    assert (kind, reason) == ("Approved", "AutoApproved")
    assert joining.pod("ctl-first")["metadata"]["name"] in message
    assert "CN=system:node:wasm-ctl-first" in asked.certificate().subject.rfc4514_string()
    person = asked.holder(joining.directory / "people")
    beds.create(person, beds.node("wasm-ctl-first", "wasm32-wasi"))
    meta = joining.marks("wasm-ctl-first")
    assert meta["annotations"]["wasm-node.dev/joined-by"] == beds.RELEASE
    assert meta["annotations"]["wasm-node.dev/host"] == "ctl-first"
    assert meta["labels"]["topology.kubernetes.io/zone"] == "zone-of-ctl-first"
    assert meta["labels"]["topology.kubernetes.io/region"] == "somewhere"


def test_a_stolen_token_is_no_other_node(joining: Joining) -> None:
    """The token of one host's agent gets no other host's name, and is told."""
    joining.host("ctl-victim")
    asked = joining.host("ctl-thief").ask("stolen", "wasm-ctl-victim")

    kind, reason, message = asked.decision()

    assert (kind, reason) == ("Denied", "WrongNodeName")
    assert "an agent on ctl-thief may be node wasm-ctl-thief" in message
    wait_until(
        lambda: "Warning  WrongNodeName" in joining.plane.kubectl("describe", "csr", "stolen"),
        "the event",
        within_s=beds.WITHIN_S,
    )


def test_an_unbound_token_is_nobody(joining: Joining) -> None:
    """The service account alone, without a pod, joins as nothing."""
    asked = joining.account(beds.AGENT).ask("unbound", "wasm-ctl-none")

    assert asked.decision()[:2] == ("Denied", "NotBoundToAPod")


def test_a_node_serves_on_its_pods_address_alone(joining: Joining) -> None:
    """The pod's address is granted once it is known; a name never."""
    node = joining.join("ctl-serve")
    address = asking.address("10.99.0.1")
    serving = ("wasm-ctl-serve", asking.SERVING)
    early = node.ask("early", *serving, names=[address])
    with_name = node.ask("named", *serving, names=[address, x509.DNSName("kubernetes")])

    assert with_name.decision()[:2] == ("Denied", "WrongAlternativeNames")
    assert early.status() == {}
    joining.run_pod(joining.pod("ctl-serve")["metadata"]["name"], "10.99.0.1")
    served = early.certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [address] == list(served.value)
    assert node.ask("renewed", "wasm-ctl-serve").decision()[:2] == ("Approved", "AutoApproved")


def test_a_kubelets_requests_are_not_touched(joining: Joining) -> None:
    """A real node's requests stay as they are while ours are decided."""
    kubelet = _kubelet(joining, "ctl-real")
    theirs = [
        kubelet.ask("their-client", "ctl-real"),
        kubelet.ask(
            "their-serving", "ctl-real", asking.SERVING, names=[asking.address("10.9.9.9")]
        ),
    ]

    for number in range(3):  # each decided after theirs had their turn
        joining.account(beds.AGENT).ask(f"after-{number}", "wasm-nobody").decision()

    assert [{}, {}] == [each.status() for each in theirs]


def test_a_machine_joins_by_a_bootstrap_token(joining: Joining) -> None:
    """A free name is granted, a name of a host's form is not."""
    machine = _machine(joining)

    assert machine.ask("edge", "edge-1").decision()[:2] == ("Approved", "AutoApproved")
    assert machine.ask("theft", "wasm-ctl-x").decision()[:2] == ("Denied", "NodeNameReserved")


def test_the_probe_answers(joining: Joining) -> None:
    """The liveness endpoint says that the loops come round."""

    def answers() -> bool:
        try:
            with urlopen(joining.health, timeout=10) as answer:  # noqa: S310  # loopback
                return bool(json.load(answer)["loops"] < 120)
        except OSError:
            return False

    wait_until(answers, "the probe", within_s=beds.WITHIN_S, alive=[joining.process])


def test_a_node_goes_with_its_host(joining: Joining) -> None:
    """Node and Lease of a host that is gone are removed, a machine's not."""
    plane = joining.plane
    joining.join("ctl-stays")
    joining.join("ctl-gone")
    beds.create(joining.admin, beds.node("edge-2", "wasm32-wasi"), _lease("wasm-ctl-gone"))

    plane.kubectl("delete", "node", "ctl-gone")

    gone = "wasm-ctl-gone"
    wait_until(
        lambda: gone not in beds.nodes(plane) | beds.leases(plane),
        "the end of its node",
        within_s=beds.WITHIN_S,
        alive=[joining.process],
    )
    assert {"edge-2", "ctl-stays", "wasm-ctl-stays"} <= beds.nodes(plane)


def test_remove_nodes_leaves_nothing_of_the_release(joining: Joining) -> None:
    """Pods are evicted, then agents, requests, leases and Nodes are deleted."""
    plane = joining.plane
    joining.join("ctl-last")
    _kubelet(joining, "ctl-other").ask("kept", "ctl-other")
    beds.create(
        joining.admin,
        beds.node("edge-3", "wasm32-wasi"),
        _lease("wasm-ctl-last"),
        _workload("free"),
        _workload("kept"),
        _budget("kept"),
    )
    joining.run_pod("kept", "10.99.1.1")

    told = joining.remove_nodes(drain_s=3)

    assert f"evicted pod {beds.NAMESPACE}/free" in told
    assert f"to be deleted with the nodes: {beds.NAMESPACE}/kept" in told
    assert f"deleted daemonset {beds.AGENT} of the agents" in told
    assert "deleted node wasm-ctl-last and its lease" in told
    left = beds.nodes(plane)
    assert {"ctl-last", "ctl-other", "edge-3"} <= left
    assert [] == [each for each in left | beds.leases(plane) if each.startswith("wasm-ctl-")]
    authors = {each["spec"]["username"] for each in plane.admin.get(asking.CSRS)["items"]}
    assert "system:node:ctl-other" in authors
    assert [] == [each for each in authors if "wasm-ctl-" in each or beds.AGENT in each]


def _kubelet(joining: Joining, name: str) -> asking.Person:
    person = asking.Person(joining.plane, joining.plane.node_credentials(name, []).kubeconfig)
    beds.create(person, beds.node(name, "amd64"))
    return person


def _machine(joining: Joining) -> asking.Person:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "stringData": {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:wasm-node",
        },
    }
    beds.create(joining.admin, secret)
    user = {"token": "abcdef.0123456789abcdef"}
    return asking.Person.of(joining.plane, joining.directory / "people", user)


def _workload(name: str) -> dict[str, Any]:
    spec = {
        "nodeName": "wasm-ctl-last",
        "terminationGracePeriodSeconds": 0,
        "tolerations": beds.TOLERANT,
        "containers": [{"name": "main", "image": "none"}],
    }
    made = beds.named(beds.NAMESPACE, "v1", "Pod", name, spec)
    made["metadata"]["labels"] = {"name": name}
    return made


def _budget(name: str) -> dict[str, Any]:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"name": name}}}
    return beds.named(beds.NAMESPACE, "policy/v1", "PodDisruptionBudget", name, spec)


def _lease(name: str) -> dict[str, Any]:
    return beds.named("kube-node-lease", "coordination.k8s.io/v1", "Lease", name)
