"""
Events of cluster-scoped objects: why something was denied, or is left to you.

They are in the namespace `default`, where kubectl looks for them. The name is
made of what is said, so that saying it again, also by the next process, is
one event: the API server refuses the second.
"""

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from wasm_node.controller import apiserver

log = logging.getLogger(__name__)

_PATH = "/api/v1/namespaces/default/events"
_COMPONENT = "wasm-node-controller"
_NAME_LENGTH = 230
_MESSAGE_LENGTH = 1000


async def tell(
    api: apiserver.Api, about: Mapping[str, Any], kind: str, reason: str, message: str
) -> None:
    """
    Write an event, once; it is no harm if that fails.

    Args:
        api: where to.
        about: a decoded object with `apiVersion`, `kind` and `metadata`.
        kind: Normal or Warning.
        reason: one word in CamelCase.
        message: for a person: what is so, and what to do.
    """
    meta = about["metadata"]
    said = hashlib.sha256(f"{meta['uid']} {reason} {message}".encode()).hexdigest()[:16]
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name'][:_NAME_LENGTH]}.{said}", "namespace": "default"},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": meta["name"],
            "uid": meta["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message[:_MESSAGE_LENGTH],
        "source": {"component": _COMPONENT},
        "reportingComponent": _COMPONENT,
        "reportingInstance": _COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await api.call("POST", _PATH, event)
    except apiserver.ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            log.warning("Dropped an event about %s: %s", meta["name"], error)
