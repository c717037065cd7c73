"""This node's Node object and Lease in the API server."""

from collections.abc import Mapping
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.kube import client
from wasm_node.agent.model import manifest, parsing, times

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class ApiNode:
    """NodeObject and OwnNode over the API server."""

    def __init__(self, api: client.Api, name: str) -> None:
        self._api = api
        self._name = name
        self._last: dict[str, Any] | None = None

    async def get(self) -> dict[str, Any] | None:
        """Return the Node as decoded JSON; None: there is none."""
        try:
            self._last = await self._api.call("GET", f"/api/v1/nodes/{self._name}")
        except errors.NotFound:
            self._last = None
        return self._last

    async def read(self, *, fresh: bool) -> manifest.Node:
        """
        Return the Node as it was read last; `fresh`: as it is now.

        Raises:
            NotFound: there is none.
            Retryable: it cannot be read now.
        """
        found = None if fresh else self._last
        found = found or await self.get()
        if found is None:
            raise errors.NotFound(
                f"cannot read node {self._name}: there is none; it is registered again in a while",
                reason="NodeNotFound",
            )
        return parsing.node(found)

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
