"""
Waiting until every host of a release is wiped, at the end of its uninstall.

The hosts are wiped by a DaemonSet of the chart, each of whose pods is Ready
once it has done so; Helm waits for Jobs only, and this is what its Job runs.
"""

import asyncio
import time
from collections.abc import Callable

from wasm_node.controller import apiserver

_PAUSE_S = 0.5


async def wait(
    api: apiserver.Api, namespace: str, name: str, within_s: float, say: Callable[[str], None]
) -> bool:
    """
    Return whether all pods of a DaemonSet became Ready in time.

    Raises:
        ApiError: it could not be read.
    """
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}"
    until = time.monotonic() + within_s
    while True:
        found = await api.call("GET", path)
        status = found.get("status", {})
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        if seen and ready >= wanted:
            say(f"{wanted} hosts are wiped")
            return True
        if time.monotonic() > until:
            say(f"{ready} of {wanted} hosts are wiped; `kubectl -n {namespace} get pods` has more")
            return False
        await asyncio.sleep(_PAUSE_S)
