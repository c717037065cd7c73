"""
The connection to the API server, its errors made ours.

The kubernetes package reads the kubeconfig, holds TLS and the connection pool
and sends requests; bodies stay raw, because its models cost more than the
whole rest of a status write. It takes about a second and 33 MB to import, so
nothing imports this module before running pods are adopted, and `wasm-node
run` never does.
"""

import asyncio
import contextlib
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from kubernetes.aio import client, config

from wasm_node.agent import errors

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

_CALL_TIMEOUT_S = 15.0
_WATCH_SILENCE_S = 90.0
_MAX_BODY_BYTES = 64 * 2**20
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class Expired(errors.NodeError):
    """410: the resource version is too old; list again."""


class Conflict(errors.NodeError):
    """409: the object exists already, or is not the one that was meant."""


class Api:
    """Calls and streams; one per program, used as a context manager."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._base = str(api.configuration.host).rstrip("/")

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, kubeconfig: Path, *, private: Path) -> AsyncIterator[Self]:
        """
        Yield a connection with the identity of a kubeconfig.

        Keys that stand in the kubeconfig itself are written below `private`
        for as long as the process lives: a directory of ours, best on tmpfs.

        Raises:
            BadInput: the kubeconfig cannot be used.
        """
        try:
            opened = await asyncio.to_thread(_open, kubeconfig, private)
        except (config.ConfigException, OSError, ValueError) as error:
            raise errors.BadInput(
                f"cannot use kubeconfig {kubeconfig}: {error}", reason="BadKubeconfig"
            ) from error
        async with opened as api:
            yield cls(api)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """
        Send one request and return the decoded answer.

        Raises:
            NotFound, Conflict, Expired, Throttled, BadInput, Retryable: by
                status code; whatever else goes wrong is Retryable.
        """
        timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S)
        async with self._sent(method, path, query, body, content_type, timeout) as answer:
            raw = await answer.content.read(_MAX_BODY_BYTES)
            while chunk := await answer.content.read(_MAX_BODY_BYTES):
                raw += chunk
                if len(raw) > _MAX_BODY_BYTES:
                    raise errors.Retryable(f"{method} {path}: answer too large", reason="APIError")
            if answer.status >= 400:  # HTTP's own line between good and bad
                raise _error(method, path, answer, raw)
            try:
                return _OBJECT.decode(raw)
            except msgspec.DecodeError as error:
                text = f"{method} {path}: the answer is not of the API server: {error}"
                raise errors.Retryable(text, reason="APIError") from error

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """
        Yield the lines of a watch until the server ends it.

        The silence allowed is bounded: bookmarks come about once a minute and
        a dead connection must not look like a quiet one, so the caller asks
        again from where it was.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CALL_TIMEOUT_S, sock_read=_WATCH_SILENCE_S
        )
        async with self._sent("GET", path, query, None, "application/json", timeout) as answer:
            if answer.status >= 400:  # HTTP's own line between good and bad
                raise _error("GET", path, answer, await answer.content.read(2**16))
            async for line in answer.content:
                yield line

    @contextlib.asynccontextmanager
    async def _sent(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._base + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        headers |= self._api.default_headers
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = await self._api.call_api(
                method, url, headers, dict(body) if body is not None else None,
                _request_timeout=timeout,
            )  # fmt: skip
            async with answer.response as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or type(error).__name__
            raise errors.Retryable(
                f"cannot reach the API server: {method} {path}: {what}", reason="APIUnavailable"
            ) from error


def _open(kubeconfig: Path, private: Path) -> client.ApiClient:
    """Read all files; in a thread, as the package does that on the loop."""
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in private.iterdir():  # by one that was killed
        left.unlink()
    made = client.Configuration()
    # NB: with it on, each request reads ~/.netrc: a tenth of our time.
    made.client_session_kwargs = {"trust_env": False}
    asyncio.run(
        config.load_kube_config(
            config_file=str(kubeconfig), client_configuration=made, temp_file_path=str(private)
        )
    )
    return client.ApiClient(made)


def _error(method: str, path: str, answer: aiohttp.ClientResponse, raw: bytes) -> errors.NodeError:
    try:
        said = msgspec.json.decode(raw)
        text, reason = str(said.get("message", "")), str(said.get("reason") or "APIError")
    except (msgspec.DecodeError, AttributeError):
        text, reason = raw[:200].decode(errors="replace"), "APIError"
    message = f"{method} {path}: {answer.status} {text}"
    match answer.status:
        case 404:
            return errors.NotFound(message, reason=reason)
        case 409:
            return Conflict(message, reason=reason)
        case 410:
            return Expired(message, reason=reason)
        case 422 | 400:
            return errors.BadInput(message, reason=reason)
        case 429:
            after = answer.headers.get("Retry-After", "1")
            after_s = float(after) if after.isdigit() else 1.0
            return errors.Throttled(message, reason=reason, after_s=after_s)
        case _:
            return errors.Retryable(message, reason=reason)
