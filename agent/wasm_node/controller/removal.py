"""
`wasm-node controller remove-nodes`: take all wasm nodes of a release away.

For the chart's pre-delete hook, while the agents still run: a node may not
delete itself, and only its agent can end its pods in peace. The agents go
before their Nodes, because a running one would register again. Each step may
be repeated; a second run goes on where the first one ended.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from wasm_node.controller import (
    apiserver,
    approvals,
    hosting,
    known,
    lookup,
    names,
    objects,
    settings,
    upkeep,
)

_DAEMON_SETS = "/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}"
_MIRROR = "kubernetes.io/config.mirror"
_AGENTS_S = 45.0
_PAUSE_S = 1.0


async def remove_nodes(
    api: apiserver.Api, policy: settings.Settings, drain_s: float, say: Callable[[str], None]
) -> None:
    """
    Drain and delete the Nodes of hosts, their Leases and their requests.

    Args:
        api: as an identity that may do so.
        policy: whose nodes.
        drain_s: how long pods have to end; the rest goes with the Nodes.
        say: told each thing that was done.

    Raises:
        ApiError: something could not be done; what was done stays done.
    """
    nodes = await _nodes(api, policy)
    for node in nodes:
        body = {"spec": {"unschedulable": True}}
        path = f"{lookup.NODES}/{node.name}"
        await api.call("PATCH", path, body, content_type=apiserver.MERGE)
        say(f"cordoned node {node.name}")
    await _drain(api, nodes, drain_s, say)
    await _end_agents(api, policy, say)
    await _delete_requests(api, policy, nodes, say)
    for node in nodes:
        await api.delete(f"{upkeep.LEASES}/{node.name}")
        await api.delete(f"{lookup.NODES}/{node.name}", node.uid)
        say(f"deleted node {node.name} and its lease")
    say(f"{len(nodes)} nodes of {policy.release} removed")


async def _nodes(api: apiserver.Api, policy: settings.Settings) -> list[known.Node]:
    pods = await lookup.agent_pods(api, policy)
    selector = f"{hosting.ARCHITECTURE_LABEL}={hosting.ARCHITECTURE}"
    found = map(objects.node, await api.items(lookup.NODES, {"labelSelector": selector}))
    return [
        each
        for each in found
        if each.joined_by == policy.release or hosting.host_of(each, policy, pods) is not None
    ]


async def _drain(
    api: apiserver.Api, nodes: Sequence[known.Node], drain_s: float, say: Callable[[str], None]
) -> None:
    until = time.monotonic() + drain_s
    told: set[str] = set()
    while pods := [pod for node in nodes for pod in await _pods(api, node)]:
        for pod in pods:
            if news := await _evict(api, pod):
                if news not in told:
                    say(news)
                told.add(news)
        if time.monotonic() >= until:
            left = ", ".join(sorted(_name(pod) for pod in pods))
            say(f"not ended within {drain_s:.0f} s, to be deleted with the nodes: {left}")
            return
        await asyncio.sleep(_PAUSE_S)


async def _pods(api: apiserver.Api, node: known.Node) -> list[dict[str, Any]]:
    """Read what has to end on a node: not what is made anew at once."""
    found = await api.items("/api/v1/pods", {"fieldSelector": f"spec.nodeName={node.name}"})
    return [
        pod
        for pod in found
        if _MIRROR not in (pod["metadata"].get("annotations") or {})
        and not any(each["kind"] == "DaemonSet" for each in _owners(pod))
    ]


async def _evict(api: apiserver.Api, pod: dict[str, Any]) -> str:
    """Ask for a pod's end; return what there is to say about it."""
    meta = pod["metadata"]
    if "deletionTimestamp" in meta:
        return ""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
    }
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
    try:
        await api.call("POST", path, body)
    except apiserver.ApiError as error:
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):  # gone, or another
            return ""
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            return f"waiting for a disruption budget of pod {_name(pod)}"
        return f"not evicted yet: {error}"
    return f"evicted pod {_name(pod)}"


async def _end_agents(
    api: apiserver.Api, policy: settings.Settings, say: Callable[[str], None]
) -> None:
    path = f"/api/v1/namespaces/{policy.namespace}/pods"
    listed = await api.items(path, {"labelSelector": policy.selector})
    owners = {
        each["name"] for pod in listed for each in _owners(pod) if each["kind"] == "DaemonSet"
    }
    for name in sorted(owners):
        await api.delete(_DAEMON_SETS.format(namespace=policy.namespace, name=name))
        say(f"deleted daemonset {name} of the agents")
    until = time.monotonic() + _AGENTS_S
    while agents := await lookup.agent_pods(api, policy):
        if time.monotonic() >= until:
            left = ", ".join(each.name for each in agents)
            say(f"agents not ended within {_AGENTS_S:.0f} s, which may register again: {left}")
            return
        await asyncio.sleep(_PAUSE_S)


async def _delete_requests(
    api: apiserver.Api,
    policy: settings.Settings,
    nodes: Sequence[known.Node],
    say: Callable[[str], None],
) -> None:
    account = f"system:serviceaccount:{policy.namespace}:{policy.agent_service_account}"
    ours = {account, *(names.user(each.name) for each in nodes)}
    for csr in await api.items(approvals.CSRS, {}):
        if csr["spec"].get("username") in ours:
            await api.delete(f"{approvals.CSRS}/{csr['metadata']['name']}")
            say(f"deleted certificate request {csr['metadata']['name']}")


def _owners(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return pod["metadata"].get("ownerReferences") or []


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
