"""
Which certificate requests are granted: the rules, and nothing else.

A certificate for `system:node:NAME` is everything that a node is, and real
kubelets use the same two signers. So a request is judged only if its author
is ours, and granted only for what the cluster itself knows of the author:
the pod that its token is bound to, the addresses of that pod's object. What a
node writes about itself (Node.status) proves nothing here. Usages, subject
and alternative names follow the signers' own rules, ValidateKubeletClientCSR
and ValidateKubeletServingCSR of k8s.io/kubernetes pkg/apis/certificates.
Pure: `approvals` gathers the facts, calls this, and writes what comes out.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import TypeAlias

from wasm_node.controller import known, names, requests, settings

CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
PATIENCE_S = 60.0
"""How long a pod, or its address, may still come to be known."""

_NODES = "system:nodes"
_BOOTSTRAP = "system:bootstrap:"
"""Users of bootstrap tokens: nobody else gets a name by being in the group."""
_TOKEN = "authentication.kubernetes.io/"  # noqa: S105  # a prefix, no secret
_PURPOSE = {CLIENT: "client auth", SERVING: "server auth"}


@dataclasses.dataclass(frozen=True)
class Csr:
    """
    A request that is neither granted nor denied yet.

    Attributes:
        username, groups, extra: its author, as the API server saw them.
        request: what it asks for, or why that cannot be read.
    """

    name: str
    uid: str
    signer: str
    username: str
    groups: frozenset[str]
    extra: Mapping[str, tuple[str, ...]]
    usages: frozenset[str]
    request: requests.Request | requests.Unreadable


@dataclasses.dataclass(frozen=True)
class Facts:
    """
    What the cluster knows, read just now.

    Attributes:
        node: the Node that `node_meant` names; None: there is none.
        pods: all agents' pods.
        waited_s: for how long the request is known.
    """

    node: known.Node | None
    pods: tuple[known.AgentPod, ...]
    waited_s: float


@dataclasses.dataclass(frozen=True)
class Approve:
    """Grant it."""

    message: str


@dataclasses.dataclass(frozen=True)
class Deny:
    """Refuse it for good; the author has to make another."""

    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Wait:
    """Look again: what it takes may come to be known."""

    message: str


@dataclasses.dataclass(frozen=True)
class Ask:
    """Leave it to a person, and tell them once."""

    message: str


@dataclasses.dataclass(frozen=True)
class Ignore:
    """It is not ours: never touched."""


Verdict: TypeAlias = Approve | Deny | Wait | Ask | Ignore


class Author(enum.Enum):
    """Whose requests are looked at."""

    AGENT = "an agent's service account"
    NODE = "a node, of whatever kind"
    MACHINE = "a machine with a bootstrap token of ours"


def author(csr: Csr, policy: settings.Settings) -> Author | None:
    """Say who made a request; None: nobody whose requests may be ours."""
    if csr.signer not in _PURPOSE:
        return None
    account = f"system:serviceaccount:{policy.namespace}:{policy.agent_service_account}"
    if csr.username == account:
        return Author.AGENT
    if names.node_of(csr.username) is not None and _NODES in csr.groups:
        return Author.NODE
    if csr.username.startswith(_BOOTSTRAP) and policy.bootstrap_group in csr.groups:
        return Author.MACHINE
    return None


def node_meant(csr: Csr, policy: settings.Settings) -> str:
    """
    Name the Node that `judge` has to know: the author's, else the wanted.

    Empty if the request names no node.
    """
    if author(csr, policy) is Author.NODE:
        return names.node_of(csr.username) or ""
    if isinstance(csr.request, requests.Unreadable):
        return ""
    return names.node_of(csr.request.user) or ""


def judge(csr: Csr, policy: settings.Settings, facts: Facts) -> Verdict:
    """Decide about a request."""
    match author(csr, policy):
        case None:
            return Ignore()
        case Author.NODE:
            return _of_node(csr, policy, facts)
        case (Author.AGENT | Author.MACHINE) as who:
            node = node_meant(csr, policy)
            if csr.signer == SERVING:
                return Deny(
                    "NotANode",
                    "a serving certificate is for the node alone to ask for, as system:node:NAME",
                )
            asked = _checked(csr, node)
            if isinstance(asked, Deny):
                return asked
            if who is Author.AGENT:
                return _of_agent(csr, node, policy, facts)
            return _of_machine(csr, node, policy, facts)


def _of_agent(csr: Csr, node: str, policy: settings.Settings, facts: Facts) -> Verdict:
    """Judge the first certificate of a host's node, by the pod's token."""
    claims = [csr.extra.get(_TOKEN + key, ()) for key in ("pod-name", "pod-uid", "node-name")]
    if any(len(each) != 1 for each in claims):
        return Deny("NotBoundToAPod", "the service account's token is not bound to a pod on a node")
    pod_name, pod_uid, host = (each[0] for each in claims)
    found = {each.name: each for each in facts.pods}.get(pod_name)
    if found is None:
        text = f"there is no pod {pod_name} of the agents in namespace {policy.namespace}"
        return _patiently("NotAnAgentPod", text, facts)
    if (found.uid, found.host) != (pod_uid, host):
        text = f"the token is not of the pod {pod_name} that runs on {found.host or 'no node'}"
        return Deny("NotAnAgentPod", text)
    if node != (own := policy.template.node(host)):
        text = f"an agent on {host} may be node {own}, not {node}"
        return Deny("WrongNodeName", text)
    if facts.node is not None and not _may_be_ours(facts.node, policy):
        return Deny("NodeNameTaken", f"node {node} exists and was not joined by {policy.release}")
    return Approve(f"the token is bound to pod {pod_name} on {host}, whose node is {node}")


def _of_machine(csr: Csr, node: str, policy: settings.Settings, facts: Facts) -> Verdict:
    """
    Judge the first certificate of a machine with a bootstrap token.

    A token is often given to many machines, so it proves no name: only one
    that nobody has, and that no host's node will ever have, goes by itself.
    """
    if policy.template.matches(node):
        text = f"names like {policy.node_name} belong to hosts of the cluster: choose another"
        return Deny("NodeNameReserved", text)
    if facts.node is None:
        return Approve(f"the name {node} is free, and the token is of {policy.bootstrap_group}")
    if not facts.node.is_wasm or facts.node.joined_by:
        return Deny("NodeNameTaken", f"node {node} exists and is another's")
    return Ask(
        f"node {node} exists already, and a bootstrap token does not prove that this is it: "
        f"if you know that it is, `kubectl certificate approve {csr.name}`; else deny it"
    )


def _of_node(csr: Csr, policy: settings.Settings, facts: Facts) -> Verdict:
    """Judge a node's next client certificate, or one to serve with."""
    node = node_meant(csr, policy)
    here = [each for each in facts.pods if policy.template.node(each.host) == node]
    if facts.node is None and not here:
        return Ignore()
    if facts.node is not None and not _may_be_ours(facts.node, policy):
        return Ignore()
    asked = _checked(csr, node)
    if isinstance(asked, Deny):
        return asked
    if csr.signer == CLIENT:
        return Approve(f"node {node} asks for its own next certificate")
    if not here and facts.node is not None and not facts.node.joined_by:
        return Ask(
            f"node {node} has no pod that its address could be checked by: if you know the "
            f"address, `kubectl certificate approve {csr.name}`"
        )
    known_ips = frozenset[requests.IPAddress]().union(*(each.ips for each in here))
    if foreign := asked.ips - known_ips:
        text = f"not an address of its agent's pod: {', '.join(sorted(map(str, foreign)))}"
        return _patiently("ForeignAddress", text, facts)
    pods = ", ".join(sorted(each.name for each in here if each.ips & asked.ips))
    return Approve(f"the addresses are those of pod {pods}")


def _may_be_ours(node: known.Node, policy: settings.Settings) -> bool:
    return node.is_wasm and node.joined_by in ("", policy.release)


def _patiently(reason: str, text: str, facts: Facts) -> Verdict:
    """Deny only what stays wrong: pods and addresses are seen a bit late."""
    return Wait(text) if facts.waited_s < PATIENCE_S else Deny(reason, text)


def _checked(csr: Csr, node: str) -> requests.Request | Deny:
    """Return what is asked for, or what is wrong with it, whoever asks."""
    asked = csr.request
    if isinstance(asked, requests.Unreadable):
        return Deny("UnreadableRequest", f"cannot read the request: {asked}")
    if asked.weak:
        return Deny("WeakKey", f"{asked.weak}: use P-256 or larger, RSA of 2048 to 8192, Ed25519")
    if not node or not asked.is_for(names.user(node), _NODES):
        own = names.user(node or "NAME")
        text = f"the subject has to be O={_NODES}, CN={own}, and nothing else"
        return Deny("WrongSubject", text)
    wanted = {"digital signature", _PURPOSE[csr.signer]}
    spare = {"key encipherment"} if asked.rsa else set()
    if not wanted <= csr.usages <= wanted | spare:
        return Deny("WrongUsages", f"the usages have to be: {', '.join(sorted(wanted))}")
    if asked.dns or asked.others or bool(asked.ips) != (csr.signer == SERVING):
        allowed = "IP addresses only" if csr.signer == SERVING else "none"
        return Deny("WrongAlternativeNames", f"alternative names allowed here: {allowed}")
    return asked
