"""
Who is that, and may they: TokenReview and SubjectAccessReview.

The kubelet API asks here about every request that it has no cached answer
for. A node may create both kinds of review (ClusterRole system:node).
"""

from wasm_node.agent.kube import client
from wasm_node.agent.model import access

_TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class ApiReviewer:
    """Asks the API server."""

    def __init__(self, api: client.Api) -> None:
        self._api = api

    async def authenticate(self, token: str) -> access.Identity | None:
        """
        Return whose token it is; None: nobody's.

        Raises:
            Retryable: the API server cannot be asked now.
        """
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        made = await self._api.call("POST", _TOKENS, body={**body, "spec": {"token": token}})
        status = made.get("status", {})
        if not status.get("authenticated"):
            return None
        user = status.get("user", {})
        extra = user.get("extra") or {}
        return access.Identity(
            name=str(user.get("username", "")),
            groups=tuple(user.get("groups") or ()),
            uid=str(user.get("uid", "")),
            extra=tuple((key, tuple(values)) for key, values in sorted(extra.items())),
        )

    async def authorize(self, identity: access.Identity, wanted: access.Access) -> access.Decision:
        """
        Return what the cluster's authorizers say.

        Raises:
            Retryable: the API server cannot be asked now.
        """
        spec = {
            "user": identity.name,
            "groups": list(identity.groups),
            "uid": identity.uid,
            "extra": {key: list(values) for key, values in identity.extra},
            "resourceAttributes": {
                "verb": wanted.verb,
                "version": "v1",
                "resource": "nodes",
                "subresource": wanted.subresource,
                "name": wanted.node,
            },
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        made = await self._api.call("POST", _ACCESS, body={**body, "spec": spec})
        status = made.get("status", {})
        allowed = bool(status.get("allowed")) and not status.get("denied")
        return access.Decision(allowed, str(status.get("reason", "")))
