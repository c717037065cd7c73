"""
Who asks, and may they: in front of every request, known path or not.

A client certificate of the cluster's client CA says who (name from CN, groups
from O, as everywhere in Kubernetes), or else a bearer token, by TokenReview.
Then a SubjectAccessReview decides, for each request anew or from an answer of
the last minutes. There are no anonymous requests, and an authorizer that
cannot be asked allows nothing. Subresources are tried in order, as the
kubelet's fine-grained authorization does (pkg/kubelet/server/auth.go).
"""

import asyncio
import functools
import hashlib
import logging
import ssl
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from wasm_node.agent import errors
from wasm_node.agent.model import access
from wasm_node.agent.server import remembering, routes, seams

logger = logging.getLogger(__name__)

_TOKEN_KEPT_S = 120.0
_ALLOWED_KEPT_S = 300.0
_REFUSED_KEPT_S = 30.0
_REVIEW_TIMEOUT_S = 10.0
_UNKNOWN_PATH = ("get", ("proxy",))


class Guard:
    """Authenticates and authorizes requests to one node."""

    def __init__(self, node_name: str, reviewer: seams.Reviewer) -> None:
        self._node_name = node_name
        self._reviewer = reviewer
        self._tokens: remembering.Remembered[bytes, access.Identity | None] = (
            remembering.Remembered(
                keep_s=lambda found: _TOKEN_KEPT_S if found else _REFUSED_KEPT_S,
                clock=time.monotonic,
            )
        )
        self._decisions: remembering.Remembered[
            tuple[access.Identity, access.Access], access.Decision
        ] = remembering.Remembered(
            keep_s=lambda said: _ALLOWED_KEPT_S if said.allowed else _REFUSED_KEPT_S,
            clock=time.monotonic,
        )

    def middleware(self, rows: Mapping[web.AbstractRoute, routes.Route]) -> Middleware:
        """Return the middleware; `rows` says what each route asks for."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            row = rows.get(request.match_info.route)
            verb, subresources = (row.verb, row.subresources) if row else _UNKNOWN_PATH
            try:
                async with asyncio.timeout(_REVIEW_TIMEOUT_S):
                    identity = await self._identify(request)
                    if identity is None:
                        return web.Response(status=401, text="Unauthorized")
                    allowed = await self._may(identity, verb, subresources)
            except (errors.NodeError, TimeoutError) as error:
                reason = str(error) or f"no answer within {_REVIEW_TIMEOUT_S:.0f} s"
                logger.warning("Cannot check who asks for %s: %s", request.path, reason)
                return web.Response(status=500, text=f"cannot check who asks: {reason}\n")
            if not allowed:
                what = (
                    f"user={identity.name}, verb={verb}, resource=nodes,"
                    f" subresource(s)=[{' '.join(subresources)}]"
                )
                logger.info("Forbidden: %s", what)
                return web.Response(status=403, text=f"Forbidden ({what})\n")
            return await handler(request)

        return guard

    async def _identify(self, request: web.Request) -> access.Identity | None:
        certificate = request.get_extra_info("peercert")
        identity = from_certificate(certificate, now=time.time_ns() / 1e9)
        if identity is not None:
            return identity
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        secret = hashlib.sha256(token.encode()).digest()
        return await self._tokens.get(secret, functools.partial(self._reviewer.authenticate, token))

    async def _may(
        self, identity: access.Identity, verb: str, subresources: tuple[str, ...]
    ) -> bool:
        for each in subresources:
            wanted = access.Access(verb, self._node_name, each)
            said = await self._decisions.get(
                (identity, wanted), functools.partial(self._reviewer.authorize, identity, wanted)
            )
            if said.allowed:
                return True
        return False


def from_certificate(
    certificate: Mapping[str, Any] | None, *, now: float
) -> access.Identity | None:
    """
    Return who a verified client certificate names, as `getpeercert` gives it.

    None where there is none, it names nobody, or it has run out since the
    connection was made; `now` is unix seconds.
    """
    if not certificate or ssl.cert_time_to_seconds(certificate["notAfter"]) < now:
        return None
    fields = [field for part in certificate["subject"] for field in part]
    names = [value for kind, value in fields if kind == "commonName"]
    if not names or not names[-1]:
        return None
    groups = [value for kind, value in fields if kind == "organizationName"]
    return access.Identity(name=names[-1], groups=(*groups, "system:authenticated"))
