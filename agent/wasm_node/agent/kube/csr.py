"""
Certificates by CertificateSigningRequest (certificates.k8s.io/v1).

Creates the request, or finds the one that was made before, and follows it:
approved by the controller or a person, signed by the cluster. As the kubelet
does it (RequestCertificate and WaitForCertificate of client-go's
util/certificate/csr), except that a request that was denied is not made again
under another name, so that refusals do not pile up.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from cryptography import x509

from wasm_node.agent import errors
from wasm_node.agent.kube import client, watching
from wasm_node.agent.model import certificates

log = logging.getLogger(__name__)

_PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_WATCH_S = 60
_PAUSE_S = 1.0


class ApiSigner:
    """
    Signer over the API server.

    Attributes:
        connect: opens the API as whoever asks.
        whose: that identity, for people.
    """

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[client.Api]], whose: str
    ) -> None:
        self._connect = connect
        self._whose = whose

    async def sign(self, wanted: certificates.Wanted, name: str, request: bytes) -> bytes:
        """Return the chain for a request, PEM; see `loops.certificates`."""
        try:
            async with self._connect() as api:
                return await _Request(api, name, wanted).follow(request)
        except errors.Unauthorized as error:
            raise errors.Unauthorized(f"as {self._whose}: {error}", reason=error.reason) from error


class _Request:
    def __init__(self, api: client.Api, name: str, wanted: certificates.Wanted) -> None:
        self._api = api
        self._name = name
        self._path = f"{_PATH}/{name}"
        self._wanted = wanted

    async def follow(self, request: bytes) -> bytes:
        found = await self._created(request)
        looks = 0
        while True:
            if chain := self._outcome(found):
                return chain
            looks += 1
            if looks & (looks - 1) == 0:  # ever more seldom
                log.info(self._what_to_do(found))
            found = await self._changed(found)

    async def _created(self, request: bytes) -> Mapping[str, Any]:
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": self._name},
            "spec": {
                "request": base64.b64encode(request).decode(),
                "signerName": self._wanted.signer,
                "usages": list(self._wanted.usages),
            },
        }
        try:
            return await self._api.call("POST", _PATH, body=body)
        except client.Conflict:
            found = await self._api.call("GET", self._path)
        if not _is_of_same_key(found, request):
            raise errors.GaveUp(
                f"cannot use certificate request {self._name}: it is of another key; "
                f"`kubectl delete csr {self._name}`",
                reason="RequestTaken",
            )
        return found

    async def _changed(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the request once it changed, or about a minute later."""
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": str(found["metadata"]["resourceVersion"]),
            "timeoutSeconds": str(_WATCH_S),
        }
        async with contextlib.aclosing(self._api.lines(_PATH, query)) as lines:
            async for line in lines:
                event = watching.event(line)
                if event.type == "MODIFIED":
                    return event.object
                break  # deleted, or the watch cannot go on: the next look says
        await asyncio.sleep(_PAUSE_S)
        return await self._api.call("GET", self._path)

    def _outcome(self, found: Mapping[str, Any]) -> bytes | None:
        """
        Return the chain; None: not yet.

        Raises:
            GaveUp: denied, or the signer failed.
        """
        status = found.get("status", {})
        for each in status.get("conditions") or ():
            if each["type"] in {"Denied", "Failed"}:
                why = ": ".join(filter(None, (each.get("reason"), each.get("message"))))
                raise errors.GaveUp(
                    f"certificate request {self._name} is {each['type'].lower()}: "
                    f"{why or 'no reason given'}; once that is mended, "
                    f"`kubectl delete csr {self._name}` has it asked anew",
                    reason=f"Request{each['type']}",
                )
        chain = status.get("certificate")
        return base64.b64decode(chain) if chain else None

    def _what_to_do(self, found: Mapping[str, Any]) -> str:
        about = f"Certificate request {self._name} ({self._wanted.signer})"
        if found.get("status", {}).get("conditions"):
            return f"{about} is approved; waiting for the cluster's controller manager to sign it"
        return (
            f"{about} waits for approval: wasm-node's controller does that, or you by "
            f"`kubectl certificate approve {self._name}`"
        )


def _is_of_same_key(found: Mapping[str, Any], request: bytes) -> bool:
    theirs = x509.load_pem_x509_csr(base64.b64decode(found["spec"]["request"]))
    return theirs.public_key() == x509.load_pem_x509_csr(request).public_key()
