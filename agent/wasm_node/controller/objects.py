"""
API objects, read once at the edge into what the rules know.

What cannot be there twice or in another type is as the API server has
validated it; what an author chose freely (the request, the annotations) may
be anything.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from wasm_node.controller import hosting, known, names, requests, rules

_ENDED = ("Succeeded", "Failed")


def csr(body: Mapping[str, Any]) -> rules.Csr | None:
    """Read a CertificateSigningRequest; None: it is decided already."""
    spec, status = body["spec"], body.get("status") or {}
    if status.get("certificate") or status.get("conditions"):
        return None
    request: requests.Request | requests.Unreadable
    try:
        request = requests.read(spec["request"])
    except requests.Unreadable as error:
        request = error
    return rules.Csr(
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        signer=spec["signerName"],
        username=spec.get("username", ""),
        groups=frozenset(spec.get("groups") or ()),
        extra={key: tuple(values) for key, values in (spec.get("extra") or {}).items()},
        usages=frozenset(spec.get("usages") or ()),
        request=request,
    )


def agent_pod(body: Mapping[str, Any], account: str) -> known.AgentPod | None:
    """
    Read an agent's pod.

    None: it runs as another service account, so that it cannot be one, or it
    has ended, so that its address may be another's.
    """
    spec, status = body["spec"], body.get("status") or {}
    if spec.get("serviceAccountName") != account or status.get("phase") in _ENDED:
        return None
    return known.AgentPod(
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        host=spec.get("nodeName") or "",
        ips=frozenset(ipaddress.ip_address(each["ip"]) for each in status.get("podIPs") or ()),
    )


def node(body: Mapping[str, Any]) -> known.Node:
    """Read a Node, or only its metadata."""
    meta = body["metadata"]
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    host = notes.get(hosting.HOST, "")
    return known.Node(
        name=meta["name"],
        uid=meta["uid"],
        is_wasm=labels.get(hosting.ARCHITECTURE_LABEL) == hosting.ARCHITECTURE,
        joined_by=notes.get(hosting.JOINED_BY, ""),
        host=host if names.is_node_name(host) else "",  # NB: it becomes part of a path
        labels=dict(labels),
    )
