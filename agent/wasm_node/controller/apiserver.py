"""
The API server, as far as the controller writes to it and reads what counts.

kopf watches, and says that something happened; what is decided on is read
here, at that moment, because a watch may miss the end of an object. One small
client over aiohttp, which kopf brings along: the kubernetes package would
take as much memory again as the whole controller.
"""

import contextlib
import os
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp
import kopf
import msgspec

MERGE = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S = 15.0
_PAGE = 500


class ApiError(Exception):
    """
    A call failed; the next round may do better.

    Attributes:
        status: of the answer; 0: there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NoCredentials(Exception):
    """There is no way to the API server; the text says what to do."""


def credentials() -> kopf.ConnectionInfo:
    """
    Read who we are and where the API server is: as a pod, else KUBECONFIG.

    In a pod the address comes from the environment: no DNS is needed.

    Raises:
        NoCredentials: there is neither.
    """
    token, host = _ACCOUNT / "token", os.environ.get("KUBERNETES_SERVICE_HOST")
    if host and token.exists():
        at = f"[{host}]" if ":" in host else host
        return kopf.ConnectionInfo(
            server=f"https://{at}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}",
            ca_path=_ACCOUNT / "ca.crt",
            token=token.read_text().strip(),
        )
    try:
        found = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    except (OSError, KeyError, ValueError, kopf.LoginError) as error:
        raise NoCredentials(f"cannot use the kubeconfig: {error}") from error
    if found is None:
        raise NoCredentials("cannot find the API server: not in a pod, and KUBECONFIG is not set")
    return found


class Api:
    """Calls, one JSON answer each; a context manager."""

    def __init__(self, session: aiohttp.ClientSession, info: kopf.ConnectionInfo) -> None:
        self._session = session
        self._server = info.server.rstrip("/")
        self._identity = info.as_http_headers()

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls) -> AsyncIterator[Self]:
        """
        Yield the API server as the controller's own identity sees it.

        Raises:
            NoCredentials: nobody said where it is or who we are.
        """
        info = credentials()
        connector = aiohttp.TCPConnector(ssl=info.as_ssl_context())
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield cls(session, info)

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        """
        Send one request and return the decoded answer.

        Raises:
            ApiError: it could not be sent, or was answered by an error.
        """
        what = f"{method} {path}"
        url = self._server + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Content-Type": content_type, "Accept": accept, **self._identity}
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._session.request(method, url, data=data, headers=headers) as answer:
                raw = await answer.read()
                said = msgspec.json.decode(raw, type=dict[str, Any])
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
            raise ApiError(f"cannot {what}: {str(error) or type(error).__name__}") from error
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._identity = credentials().as_http_headers()  # a token is renewed on disk
        if answer.status >= HTTPStatus.BAD_REQUEST:
            text = f"cannot {what}: {answer.status} {said.get('message', '')}"
            raise ApiError(text, answer.status)
        return said

    async def find(self, path: str, *, accept: str = "application/json") -> dict[str, Any] | None:
        """
        Read one object; None: there is none.

        Raises:
            ApiError: as `call`.
        """
        try:
            return await self.call("GET", path, accept=accept)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def items(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """
        Read a list, all of its pages.

        Raises:
            ApiError: as `call`.
        """
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            asked = {**query, "limit": str(_PAGE)} | ({"continue": more} if more else {})
            page = await self.call("GET", path, query=asked)
            found += page.get("items") or []
            more = page.get("metadata", {}).get("continue") or ""
            if not more:
                return found

    async def delete(self, path: str, uid: str = "") -> bool:
        """
        Delete an object, if it still is the one with this uid.

        Returns:
            Whether it was there.

        Raises:
            ApiError: as `call`; 409: it is another object by now.
        """
        body = {"preconditions": {"uid": uid}} if uid else None
        try:
            await self.call("DELETE", path, body)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True
