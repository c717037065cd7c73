"""Every way in which a certificate request is granted, refused, or left."""

import dataclasses
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasm_node.controller import known, names, requests, rules, settings

POLICY = settings.Settings(
    namespace="wasm",
    agent_service_account="agent",
    agent_selector={"app": "agent"},
    node_name="wasm-{host}",
)
ACCOUNT = "system:serviceaccount:wasm:agent"
HERE = frozenset({ipaddress.ip_address("10.0.0.1")})
POD = known.AgentPod("agent-1", "uid-1", "h1", HERE)
SURGE = known.AgentPod("agent-2", "uid-2", "h1", frozenset({ipaddress.ip_address("10.0.0.2")}))
ELSEWHERE = known.AgentPod("agent-9", "uid-9", "h9", frozenset({ipaddress.ip_address("10.0.0.9")}))
OURS = known.Node("wasm-h1", "n1", True, POLICY.release, "h1", {})
NEW = known.Node("wasm-h1", "n1", True, "", "", {})
FOREIGN = known.Node("wasm-h1", "n1", False, "", "", {})
OTHER = known.Node("wasm-h1", "n1", True, "other/agent", "h1", {})
MACHINE = known.Node("edge", "n2", True, "", "", {})


def asked(node: str = "wasm-h1", ips: frozenset[Any] = frozenset()) -> requests.Request:
    """Give a request for a node, right in itself."""
    subject = (("2.5.4.10", "system:nodes"), ("2.5.4.3", names.user(node)))
    none = frozenset[str]()
    return requests.Request(subject, none, ips, none, rsa=False, weak="")


def bound(**claims: str) -> dict[str, tuple[str, ...]]:
    """Give the extra fields of a token that is bound to the agent's pod."""
    said = {"pod_name": "agent-1", "pod_uid": "uid-1", "node_name": "h1"} | claims
    prefix = "authentication.kubernetes.io/"
    return {prefix + key.replace("_", "-"): (value,) for key, value in said.items()}


def by_agent(**changes: Any) -> rules.Csr:
    """Give the first request of h1's agent."""
    made = rules.Csr(
        name="csr-1",
        uid="c1",
        signer=rules.CLIENT,
        username=ACCOUNT,
        groups=frozenset({"system:serviceaccounts", "system:authenticated"}),
        extra=bound(),
        usages=frozenset({"digital signature", "client auth"}),
        request=asked(),
    )
    return dataclasses.replace(made, **changes)


def by_node(node: str = "wasm-h1", **changes: Any) -> rules.Csr:
    """Give a node's request for its own next client certificate."""
    given = {
        "username": names.user(node),
        "groups": frozenset({"system:nodes", "system:authenticated"}),
        "extra": {},
        "request": asked(node),
    }
    return by_agent(**(given | changes))


def to_serve(node: str = "wasm-h1", **changes: Any) -> rules.Csr:
    """Give a node's request to serve on its pod's address."""
    given = {
        "signer": rules.SERVING,
        "usages": frozenset({"digital signature", "server auth"}),
        "request": asked(node, HERE),
    }
    return by_node(node, **(given | changes))


def by_machine(node: str = "edge", **changes: Any) -> rules.Csr:
    """Give the first request of a machine with a bootstrap token."""
    given = {
        "username": "system:bootstrap:abcdef",
        "groups": frozenset({POLICY.bootstrap_group, "system:bootstrappers"}),
        "extra": {},
        "request": asked(node),
    }
    return by_agent(**(given | changes))


def with_request(**changes: Any) -> requests.Request:
    """Give the agent's request, changed in itself."""
    return dataclasses.replace(asked(), **changes)


def verdict(
    csr: rules.Csr,
    *pods: known.AgentPod,
    node: known.Node | None = None,
    waited_s: float = rules.PATIENCE_S,
) -> rules.Verdict:
    """Judge, long after the request was first seen."""
    return rules.judge(csr, POLICY, rules.Facts(node, pods or (POD, ELSEWHERE), waited_s))


@pytest.mark.parametrize(
    ("csr", "node"),
    [
        pytest.param(by_agent(), None, id="the first time"),
        pytest.param(by_agent(), OURS, id="the node is ours"),
        pytest.param(by_agent(), NEW, id="the node is not marked yet"),
        pytest.param(by_node(), OURS, id="renewal"),
        pytest.param(by_node(), None, id="renewal, its Node was deleted"),
        pytest.param(by_node("edge"), MACHINE, id="a machine's renewal"),
        pytest.param(to_serve(), None, id="serving before the Node is there"),
        pytest.param(to_serve(), OURS, id="serving"),
        pytest.param(by_machine(), None, id="a machine's free name"),
        pytest.param(
            by_agent(
                request=with_request(rsa=True),
                usages=frozenset({"digital signature", "client auth", "key encipherment"}),
            ),
            None,
            id="an RSA key may encipher",
        ),
    ],
)
def test_what_is_granted(csr: rules.Csr, node: known.Node | None) -> None:
    """What the cluster knows of the author proves what it asks for."""
    assert isinstance(verdict(csr, node=node), rules.Approve)


def test_both_pods_of_an_upgrade_may_serve() -> None:
    """During a surge the node has two pods: either address, or both."""
    both = HERE | SURGE.ips

    for ips in (HERE, SURGE.ips, both):
        csr = to_serve(request=asked("wasm-h1", ips))
        assert isinstance(verdict(csr, POD, SURGE, node=OURS), rules.Approve)


@pytest.mark.parametrize(
    ("csr", "node", "reason"),
    [
        pytest.param(by_agent(extra={}), None, "NotBoundToAPod", id="an unbound token"),
        pytest.param(
            by_agent(extra=bound() | {"authentication.kubernetes.io/node-name": ("h1", "h9")}),
            None, "NotBoundToAPod", id="two hosts",
        ),
        pytest.param(
            by_agent(extra=bound(pod_name="web-1")), None, "NotAnAgentPod", id="no agent's pod"
        ),
        pytest.param(
            by_agent(extra=bound(pod_uid="uid-0")), None, "NotAnAgentPod", id="a pod of before"
        ),
        pytest.param(
            by_agent(extra=bound(node_name="h9")), None, "NotAnAgentPod", id="not its host"
        ),
        pytest.param(
            by_agent(extra=bound(pod_name="agent-9", pod_uid="uid-9", node_name="h9")),
            None, "WrongNodeName", id="a token stolen from another host",
        ),
        pytest.param(
            by_agent(request=asked("h1")), None, "WrongNodeName", id="the name of the host itself"
        ),
        pytest.param(by_agent(), FOREIGN, "NodeNameTaken", id="the name of a real kubelet"),
        pytest.param(by_agent(), OTHER, "NodeNameTaken", id="a node of another release"),
        pytest.param(by_agent(signer=rules.SERVING), None, "NotANode", id="an agent serves"),
        pytest.param(by_machine(signer=rules.SERVING), None, "NotANode", id="a machine serves"),
        pytest.param(by_machine("wasm-h1"), None, "NodeNameReserved", id="a host's name"),
        pytest.param(by_machine("wasm-h7"), None, "NodeNameReserved", id="of a host to come"),
        pytest.param(by_machine("real"), FOREIGN, "NodeNameTaken", id="a kubelet's name"),
        pytest.param(by_machine("pool-h1"), OTHER, "NodeNameTaken", id="a release's name"),
        pytest.param(
            by_node(request=asked("wasm-h9")), OURS, "WrongSubject", id="a node renews another"
        ),
        pytest.param(
            to_serve(request=asked("wasm-h9", HERE)), OURS, "WrongSubject", id="and serves as one"
        ),
        pytest.param(
            to_serve(request=asked("wasm-h1", HERE | ELSEWHERE.ips)),
            OURS, "ForeignAddress", id="the address of another host's agent",
        ),
        pytest.param(
            to_serve(request=asked("wasm-h1", frozenset({ipaddress.ip_address("::ffff:a00:1")}))),
            OURS, "ForeignAddress", id="the pod's address, written in another way",
        ),
    ],
)  # fmt: skip
def test_what_is_ours_and_wrong_is_denied(
    csr: rules.Csr, node: known.Node | None, reason: str
) -> None:
    """Each has a reason of its own."""
    found = verdict(csr, node=node)

    assert isinstance(found, rules.Deny)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": requests.Unreadable("no PEM")}, "UnreadableRequest"),
        ({"request": with_request(weak="an RSA key of 1024 bits")}, "WeakKey"),
        ({"request": with_request(subject=())}, "WrongSubject"),
        ({"request": with_request(subject=asked().subject[1:])}, "WrongSubject"),
        ({"request": with_request(subject=(*asked().subject, ("2.5.4.10", "x")))}, "WrongSubject"),
        ({"request": asked("")}, "WrongSubject"),
        ({"request": asked("wasm-h1/../x")}, "WrongSubject"),
        ({"usages": frozenset({"client auth"})}, "WrongUsages"),
        ({"usages": frozenset({"digital signature", "server auth"})}, "WrongUsages"),
        (
            {"usages": frozenset({"digital signature", "client auth", "server auth"})},
            "WrongUsages",
        ),
        (
            {"usages": frozenset({"digital signature", "client auth", "key encipherment"})},
            "WrongUsages",
        ),
        ({"request": with_request(dns=frozenset({"kubernetes"}))}, "WrongAlternativeNames"),
        ({"request": with_request(ips=HERE)}, "WrongAlternativeNames"),
        ({"request": with_request(others=frozenset({"RFC822Name"}))}, "WrongAlternativeNames"),
    ],
)
@pytest.mark.parametrize("author", [by_agent, by_node, by_machine])
def test_a_request_has_to_be_right_in_itself(
    author: Any, changes: dict[str, Any], reason: str
) -> None:
    """No author gets a certificate of another shape than a kubelet's."""
    node = MACHINE if author is by_machine else OURS
    found = verdict(author(**changes), node=node)

    assert isinstance(found, rules.Deny)
    assert found.reason == reason


@pytest.mark.parametrize(
    "request_",
    [
        asked(),
        dataclasses.replace(asked("wasm-h1", HERE), dns=frozenset({"wasm-h1"})),
        dataclasses.replace(
            asked("wasm-h1", HERE), others=frozenset({"UniformResourceIdentifier"})
        ),
    ],
    ids=["no name at all", "a DNS name", "a URI"],
)
def test_serving_is_for_addresses_alone(request_: requests.Request) -> None:
    """At least one address, and nothing else."""
    found = verdict(to_serve(request=request_), node=OURS)

    assert isinstance(found, rules.Deny)
    assert found.reason == "WrongAlternativeNames"


@pytest.mark.parametrize(
    ("csr", "node"),
    [
        pytest.param(by_agent(signer="kubernetes.io/kube-apiserver-client"), None, id="signer"),
        pytest.param(
            by_agent(username="system:serviceaccount:other:agent"), None, id="namespace"
        ),
        pytest.param(by_agent(username="system:serviceaccount:wasm:web"), None, id="account"),
        pytest.param(
            by_machine(groups=frozenset({"system:bootstrappers:kubeadm"})), None, id="group"
        ),
        pytest.param(by_node("real"), FOREIGN, id="a kubelet's renewal"),
        pytest.param(to_serve("real"), FOREIGN, id="a kubelet's serving"),
        pytest.param(by_node("real"), None, id="a kubelet's without its Node"),
        pytest.param(by_node("wasm-h1"), FOREIGN, id="a kubelet of our form of name"),
        pytest.param(to_serve("wasm-h1"), OTHER, id="a node of another release"),
        pytest.param(
            by_node(groups=frozenset({"system:authenticated"})), OURS, id="no node by its groups"
        ),
    ],
)  # fmt: skip
def test_what_is_not_ours_is_not_touched(csr: rules.Csr, node: known.Node | None) -> None:
    """Real kubelets use the same signers: their requests are theirs."""
    assert verdict(csr, node=node) == rules.Ignore()


def test_a_late_pod_and_a_late_address_are_waited_for() -> None:
    """What a watch or a kubelet may still bring is not denied at once."""
    unknown = by_agent(extra=bound(pod_name="agent-3"))
    bare = dataclasses.replace(POD, ips=frozenset())

    assert isinstance(verdict(unknown, waited_s=1), rules.Wait)
    assert isinstance(verdict(to_serve(), bare, node=OURS, waited_s=1), rules.Wait)
    assert isinstance(verdict(to_serve(), bare, node=OURS), rules.Deny)


def test_a_person_is_asked_where_nothing_proves_it() -> None:
    """The message is the command: a machine's address, a machine's return."""
    for csr, node in ((to_serve("edge"), MACHINE), (by_machine(), MACHINE)):
        found = verdict(csr, node=node)

        assert isinstance(found, rules.Ask)
        assert "kubectl certificate approve csr-1" in found.message


NAMES = st.sampled_from(["wasm-h1", "wasm-h9", "h1", "edge", "real", "wasm-", ""])
NODES = st.sampled_from([None, OURS, NEW, FOREIGN, OTHER, MACHINE])
REQUESTS = st.builds(
    asked, NAMES, st.sampled_from([frozenset(), HERE, ELSEWHERE.ips, HERE | ELSEWHERE.ips])
)
CSRS = st.builds(
    by_agent,
    signer=st.sampled_from([rules.CLIENT, rules.SERVING, "example.com/mine"]),
    username=st.one_of(
        st.sampled_from([ACCOUNT, ACCOUNT + "x", "system:bootstrap:abcdef", "admin"]),
        NAMES.map(names.user),
    ),
    groups=st.sets(st.sampled_from(["system:nodes", POLICY.bootstrap_group, "system:masters"])).map(
        frozenset
    ),
    extra=st.sampled_from([{}, bound(), bound(node_name="h9"), bound(pod_uid="x")]),
    usages=st.sampled_from(
        [
            frozenset({"digital signature", "client auth"}),
            frozenset({"digital signature", "server auth"}),
        ]
    ),
    request=REQUESTS,
)


@given(CSRS, NODES, st.floats(0, 1000))
def test_only_ours_are_ever_touched(
    csr: rules.Csr, node: known.Node | None, waited_s: float
) -> None:
    """Who is neither our account, our group nor a node is ignored."""
    theirs = (
        csr.username != ACCOUNT
        and POLICY.bootstrap_group not in csr.groups
        and not csr.username.startswith("system:node:")
    )
    if theirs or csr.signer == "example.com/mine":
        assert verdict(csr, node=node, waited_s=waited_s) == rules.Ignore()


@given(CSRS, NODES, st.floats(0, 1000))
def test_nobody_gets_a_name_that_is_not_theirs(
    csr: rules.Csr, node: known.Node | None, waited_s: float
) -> None:
    """Each grant is for the author's own name, or for a free one."""
    if not isinstance(verdict(csr, node=node, waited_s=waited_s), rules.Approve):
        return
    assert isinstance(csr.request, requests.Request)
    wanted = names.node_of(csr.request.user)
    if csr.username == ACCOUNT:
        assert wanted == "wasm-h1"
    elif csr.username.startswith("system:node:") and "system:nodes" in csr.groups:
        assert csr.username == csr.request.user
    else:
        assert node is None
        assert wanted in ("h1", "edge", "real")
    assert csr.request.ips <= HERE | ELSEWHERE.ips
    assert (csr.signer == rules.SERVING) == bool(csr.request.ips)
