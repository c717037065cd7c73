"""This node's Node object and Lease in the API server."""

from collections.abc import Mapping
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.kube import client
from wasm_node.agent.model import times

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class ApiNode:
    """NodeObject over the API server."""

    def __init__(self, api: client.Api, name: str) -> None:
        self._api = api
        self._name = name

    async def get(self) -> dict[str, Any] | None:
        """Return the Node as decoded JSON; None: there is none."""
        try:
            return await self._api.call("GET", f"/api/v1/nodes/{self._name}")
        except errors.NotFound:
            return None

    async def create(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """
        Create the Node.

        Raises:
            Conflict: there is one of that name.
        """
        return await self._api.call("POST", "/api/v1/nodes", body=node)

    async def patch(self, change: Mapping[str, Any]) -> None:
        """Patch metadata and spec; what is not named stays as others set it."""
        await self._api.call(
            "PATCH", f"/api/v1/nodes/{self._name}", body=change, content_type=client.STRATEGIC
        )

    async def patch_status(self, status: Mapping[str, Any]) -> None:
        """
        Patch the status: conditions merge by type, addresses are replaced.

        Merged, an address of a type that we no longer publish would linger
        (the kubelet's PatchNodeStatus replaces them, too).

        Raises:
            NotFound: somebody deleted the Node.
        """
        addresses = [*status["addresses"], {"$patch": "replace"}]
        await self._api.call(
            "PATCH",
            f"/api/v1/nodes/{self._name}/status",
            body={"status": {**status, "addresses": addresses}},
            content_type=client.STRATEGIC,
        )

    async def renewed(self) -> str:
        """Return when the Lease was renewed last; empty: there is none."""
        try:
            found = await self._api.call("GET", f"{_LEASES}/{self._name}")
        except errors.NotFound:
            return ""
        return str(found["spec"].get("renewTime", ""))

    async def renew_lease(self, node_uid: str, duration_s: int, now: float) -> None:
        """Renew the Lease; make it where there is none."""
        spec = {
            "holderIdentity": self._name,
            "leaseDurationSeconds": duration_s,
            "renewTime": times.rfc3339_micro(now),
        }
        try:
            await self._api.call(
                "PATCH", f"{_LEASES}/{self._name}", body={"spec": spec}, content_type=client.MERGE
            )
        except errors.NotFound:
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._name, "uid": node_uid}
            meta = {"name": self._name, "ownerReferences": [owner]}
            body = {"metadata": meta, "spec": {**spec, "acquireTime": spec["renewTime"]}}
            await self._api.call("POST", _LEASES, body=body)
