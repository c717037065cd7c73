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
import datetime as dt
import ssl
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
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
_LONGEST_PAUSE_S = 60.0
"""No Retry-After counts for more: something in between may have made it up."""
_OBJECT = msgspec.json.Decoder(dict[str, Any])


class Expired(errors.NodeError):
    """410: the resource version is too old; list again."""


class Conflict(errors.NodeError):
    """409: the object exists already, or is not the one that was meant."""


class Forbidden(errors.Retryable):
    """403: this identity may not do that, as things are."""


class Api:
    """
    Calls and streams; one per identity, used as a context manager.

    Attributes:
        refused: set whenever the API server does not know who we are.
    """

    def __init__(self, made: client.Configuration, api: client.ApiClient) -> None:
        self.refused = asyncio.Event()
        self._made = made
        self._newest = _Line(api)
        self._base = str(made.host).rstrip("/")

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, kubeconfig: Path | None, *, private: Path, certificate: Path | None = None
    ) -> AsyncIterator[Self]:
        """
        Yield a connection.

        Args:
            kubeconfig: where the API server is, and who we are there; None:
                the pod's service account says both.
            private: a directory of ours, best on tmpfs, for keys that stand
                in the kubeconfig itself, for as long as the process lives.
            certificate: who we are instead: chain and key in one PEM file.

        Raises:
            BadInput: the kubeconfig or the certificate cannot be used.
        """
        try:
            made = await asyncio.to_thread(_read, kubeconfig, private, certificate)
            api = cls(made, await asyncio.to_thread(client.ApiClient, made))
        except (config.ConfigException, OSError, ValueError) as error:
            what = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's service account"
            raise errors.BadInput(f"cannot use {what}: {error}", reason="BadKubeconfig") from error
        try:
            yield api
        finally:
            await api._newest.api.close()

    async def renew(self) -> None:
        """
        Take the certificate's file over as it is now.

        Whatever runs, such as a watch, goes on over the connection that it
        has; everything from now on goes over new ones.
        """
        renewed = _Line(await asyncio.to_thread(client.ApiClient, self._made))
        old, self._newest = self._newest, renewed
        if not old.used:
            await old.api.close()

    @property
    def certificate(self) -> Path | None:
        """The file of the certificate that we are known by; None: a token."""
        return Path(self._made.cert_file) if self._made.cert_file else None

    async def authorities(self) -> bytes:
        """
        Return the CAs by which we know the API server, PEM.

        Raises:
            BadInput: the kubeconfig names none.
        """
        if not (path := self._made.ssl_ca_cert):
            raise errors.BadInput(
                "cannot tell by which CA the cluster's clients are known: the kubeconfig names "
                "none; set kubelet.clientCaFile",
                reason="NoClientCa",
            )
        return await asyncio.to_thread(Path(path).read_bytes)

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
            NotFound, Conflict, Expired, Throttled, BadInput, Unauthorized,
                Forbidden: by status code; whatever else is Retryable.
        """
        timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S)
        async with self._sent(method, path, query, body, content_type, timeout) as answer:
            raw = await answer.content.read(_MAX_BODY_BYTES)
            while chunk := await answer.content.read(_MAX_BODY_BYTES):
                raw += chunk
                if len(raw) > _MAX_BODY_BYTES:
                    raise errors.Retryable(f"{method} {path}: answer too large", reason="APIError")
            if answer.status >= 400:  # HTTP's own line between good and bad
                raise self._error(method, path, answer, raw)
            try:
                return _OBJECT.decode(raw)
            except msgspec.DecodeError as error:
                text = f"{method} {path}: the answer is not of the API server: {error}"
                raise errors.Retryable(text, reason="APIError") from error

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
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
                raise self._error("GET", path, answer, await answer.content.read(2**16))
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
        async with self._line() as api:
            headers |= api.default_headers
            await api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            try:
                answer = await api.call_api(
                    method, url, headers, dict(body) if body is not None else None,
                    _request_timeout=timeout,
                )  # fmt: skip
                async with answer.response as response:
                    yield response
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise errors.Retryable(
                    f"cannot reach the API server: {method} {path}: {_reason(error)}",
                    reason="APIUnavailable",
                ) from error

    @contextlib.asynccontextmanager
    async def _line(self) -> AsyncIterator[client.ApiClient]:
        line = self._newest
        line.used += 1
        try:
            yield line.api
        finally:
            line.used -= 1
            if line is not self._newest and not line.used:
                await line.api.close()

    def _error(
        self, method: str, path: str, answer: aiohttp.ClientResponse, raw: bytes
    ) -> errors.NodeError:
        made = _error(method, path, answer, raw)
        if isinstance(made, errors.Unauthorized):
            self.refused.set()
        return made


class _Line:
    """A pool of connections of one certificate, and how many use it."""

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self.used = 0


def _read(kubeconfig: Path | None, private: Path, certificate: Path | None) -> client.Configuration:
    """Read all files; in a thread, as the package does that on the loop."""
    made = client.Configuration()
    # NB: with it on, each request reads ~/.netrc: a tenth of our time.
    made.client_session_kwargs = {"trust_env": False}
    if kubeconfig is None:
        config.load_incluster_config(made)
    else:
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        asyncio.run(
            config.load_kube_config(
                config_file=str(kubeconfig),
                client_configuration=made,
                temp_file_path=str(private),
            )
        )
    if certificate is not None:
        made.api_key, made.refresh_api_key_hook = {}, None
        made.cert_file, made.key_file = str(certificate), None
    return made


def _reason(error: Exception) -> str:
    """Say what is wrong, and what to do where a person can do something."""
    what = str(error) or type(error).__name__
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        return what
    found = error.certificate_error
    if not isinstance(found, ssl.SSLCertVerificationError):
        return what
    now = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    match found.verify_code:
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return f"{what}; this host's clock says {now}: is it slow?"
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return f"{what}; this host's clock says {now}: if that is right, the server's expired"
        case 18 | 19 | 20 | 21:  # no chain to a CA that we know
            return f"{what}; is it another cluster, or was its CA replaced since?"
        case _:
            return what


def _error(method: str, path: str, answer: aiohttp.ClientResponse, raw: bytes) -> errors.NodeError:
    try:
        said = msgspec.json.decode(raw)
        text, reason = str(said.get("message", "")), str(said.get("reason") or "APIError")
    except (msgspec.DecodeError, AttributeError):
        text, reason = raw[:200].decode(errors="replace"), "APIError"
    message = f"{method} {path}: {answer.status} {text}"
    match answer.status:
        case 401:
            advice = "the API server does not know us: another cluster, or expired?"
            return errors.Unauthorized(f"{message}; {advice}", reason=reason)
        case 403:
            return Forbidden(message, reason=reason)
        case 404:
            return errors.NotFound(message, reason=reason)
        case 409:
            return Conflict(message, reason=reason)
        case 410:
            return Expired(message, reason=reason)
        case 422 | 400:
            return errors.BadInput(message, reason=reason)
        case 429 | 503 if answer.status == 429 or "Retry-After" in answer.headers:
            return errors.Throttled(message, reason=reason, after_s=_pause_s(answer))
        case _:
            return errors.Retryable(message, reason=reason)


def _pause_s(answer: aiohttp.ClientResponse) -> float:
    """Return what Retry-After asks for: seconds, as the API server says it."""
    after = answer.headers.get("Retry-After", "")
    return min(float(after), _LONGEST_PAUSE_S) if after.isdecimal() else 1.0
