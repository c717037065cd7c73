"""Statuses and removals of pods, written to the API server."""

from collections.abc import Mapping
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.kube import client
from wasm_node.agent.model import ids

_ADDRESSES = ("hostIPs", "podIPs")


class ApiSink:
    """StatusSink over the API server."""

    def __init__(self, api: client.Api) -> None:
        self._api = api

    async def write(self, pod: ids.PodRef, status: Mapping[str, Any]) -> None:
        """Patch `status`; the uid in the patch makes it exactly this pod."""
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
        # NB: conditions merge by type, key by key: what a condition no longer
        # has must be said to be gone.
        gone = {"reason": None, "message": None}
        conditions = [{**gone, **each} for each in status.get("conditions", ())]
        # Addresses merge by ip: one that changed would stay beside the new.
        addresses = {
            key: [{"$patch": "replace"}, *status[key]] for key in _ADDRESSES if key in status
        }
        made = {**status, "conditions": conditions, **addresses}
        body = {"metadata": {"uid": pod.uid}, "status": made}
        try:
            # Strategic, so that conditions of others (readiness gates,
            # DisruptionTarget) stay: the list merges by type.
            await self._api.call("PATCH", path, body=body, content_type=client.STRATEGIC)
        except (client.Conflict, errors.BadInput) as error:
            if "metadata.uid" not in str(error):  # "field is immutable": it is another pod's
                raise
            raise errors.NotFound(f"pod {pod} is another one now", reason="NotFound") from error

    async def remove(self, pod: ids.PodRef) -> None:
        """Delete the object with grace 0 and this uid; gone already is fine."""
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        try:
            await self._api.call("DELETE", path, body=body)
        except (errors.NotFound, client.Conflict):
            return
