"""
The registry client: manifests and blobs over HTTP, nothing trusted.

One aiohttp session for all registries. Every answer is bounded in size and
time, redirects are followed by hand (never from HTTPS to HTTP, a token never
to another host), and what may pass is tried again a few times, so that a blip
does not cost a pod its back-off. Errors come out as ours, with the reference.
"""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import metadata
from typing import Self, TypeVar
from urllib.parse import quote

import aiohttp
import yarl

from wasm_node.agent import errors
from wasm_node.agent.asynckit import threads
from wasm_node.agent.asynckit.backoff import Backoff
from wasm_node.agent.oci import answers, challenges, documents, layouts
from wasm_node.agent.oci.reference import Reference
from wasm_node.agent.oci.store import Incoming, MismatchError
from wasm_node.agent.oci.timeouts import Timeouts

Value = TypeVar("Value")

_USER_AGENT = f"wasm-node/{metadata.version('wasm-node')}"
_KEEP_ALIVE_S = 15.0
_TRIES = 4
_RETRY_FIRST_S = 0.25
_RETRY_MOST_S = 4.0
_RETRY_AFTER_MOST_S = 10.0
_REDIRECTS_MOST = 6
_TOKEN_MOST_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


class Registry:
    """Asks registries; a context, as it owns its connections."""

    def __init__(self, *, insecure: frozenset[str], timeouts: Timeouts) -> None:
        self._insecure = insecure
        self._timeouts = timeouts
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}

    async def __aenter__(self) -> Self:
        trusted = await threads.finish(ssl.create_default_context)  # SSL_CERT_FILE as of now
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=trusted, limit_per_host=8, keepalive_timeout=_KEEP_ALIVE_S
            ),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._timeouts.connect_s,
                sock_read=self._timeouts.silence_s,
            ),
            headers={
                "User-Agent": _USER_AGENT,
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def document(self, at: Reference, wanted: str) -> bytes:
        """
        Fetch a manifest or index by tag or digest; its digest is not checked.

        Raises:
            NotFound: the registry has no such thing.
            Retryable: anything else.
        """
        return await self._persist(at, functools.partial(self._document, at, wanted))

    async def blob(
        self,
        at: Reference,
        wanted: documents.Descriptor,
        receive: Callable[[], Incoming],
        progress: Callable[[int], None],
    ) -> None:
        """
        Stream a blob into what `receive` opens, and commit it.

        `progress` gets the bytes so far; they go back to 0 on another try.

        Raises:
            Retryable: it did not arrive, or not as announced.
        """
        await self._persist(at, functools.partial(self._blob, at, wanted, receive, progress))

    async def _document(self, at: Reference, wanted: str) -> bytes:
        accept = {"Accept": ", ".join(layouts.ACCEPTED)}
        async with (
            asyncio.timeout(self._timeouts.document_s),
            self._get(at, f"manifests/{wanted}", accept) as response,
        ):
            if response.status == 404:
                said = await answers.said(response)
                raise _failure(errors.NotFound, at, f"{at.host} has no {_name(at, wanted)}{said}")
            await answers.check(response)
            content = await answers.read(response, documents.MANIFEST_MOST_BYTES)
            if content is None:
                raise _failure(
                    errors.Retryable,
                    at,
                    f"its manifest is larger than {documents.MANIFEST_MOST_BYTES >> 20} MiB",
                )
            return content

    async def _blob(
        self,
        at: Reference,
        wanted: documents.Descriptor,
        receive: Callable[[], Incoming],
        progress: Callable[[int], None],
    ) -> None:
        slowest_s = wanted.size_bytes / self._timeouts.slowest_bytes_per_s
        async with (
            asyncio.timeout(self._timeouts.document_s + slowest_s),
            self._get(at, f"blobs/{wanted.digest}", {}) as response,
        ):
            await answers.check(response)
            announced = response.content_length
            if announced is not None and announced != wanted.size_bytes:
                raise MismatchError(f"{announced} bytes, and its manifest says {wanted.size_bytes}")
            incoming = receive()
            try:
                await _pour(response, incoming, progress)
            finally:
                await threads.finish(incoming.close)

    async def _persist(self, at: Reference, attempt: Callable[[], Awaitable[Value]]) -> Value:
        """Try again what may pass, and say it in our errors in the end."""
        backoff = Backoff(first_s=_RETRY_FIRST_S, most_s=_RETRY_MOST_S)
        for left in reversed(range(_TRIES)):
            try:
                return await attempt()
            except MismatchError as error:
                raise _failure(errors.Retryable, at, f"{at.host} sent {error}") from error
            except answers.PassingError as error:
                if not left or error.wait_s > _RETRY_AFTER_MOST_S:
                    raise _failure(errors.Retryable, at, str(error)) from error
                await asyncio.sleep(max(error.wait_s, backoff.next_s()))
            except TimeoutError as error:
                raise _failure(
                    errors.Retryable, at, f"{at.host} is too slow: gave up waiting for it"
                ) from error
            except aiohttp.ClientError as error:
                if not left or answers.is_final(error):
                    raise _failure(errors.Retryable, at, answers.words(at.host, error)) from error
                await asyncio.sleep(backoff.next_s())
            except OSError as error:
                why = f"it cannot be kept on disk: {error.strerror or error}"
                raise _failure(errors.Retryable, at, why) from error
        raise AssertionError("the last try returns or raises")

    @contextlib.asynccontextmanager
    async def _get(
        self, at: Reference, what: str, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a resource of the repository, with a token if one is needed."""
        scheme = "http" if self._is_plain(at) else "https"
        url = yarl.URL(f"{scheme}://{at.host}/v2/{at.path}/{quote(what, safe='/:')}", encoded=True)
        async with contextlib.AsyncExitStack() as stack:
            response = await self._follow(stack, at, url, headers | self._authorization(at))
            if response.status == 401:
                await self._fetch_token(at, response)
                response = await self._follow(stack, at, url, headers | self._authorization(at))
            yield response

    async def _follow(
        self,
        stack: contextlib.AsyncExitStack,
        at: Reference,
        url: yarl.URL,
        headers: dict[str, str],
    ) -> aiohttp.ClientResponse:
        for _ in range(_REDIRECTS_MOST):
            response = await stack.enter_async_context(
                self._session.get(url, headers=headers, allow_redirects=False)
            )
            if response.status not in answers.REDIRECTS:
                return response
            target = answers.redirected(response)
            if target is None or (url.scheme == "https" and target.scheme != "https"):
                raise _failure(
                    errors.Retryable, at, f"{url.host} redirects to a place that is not safe"
                )
            if target.origin() != url.origin():
                headers = {name: each for name, each in headers.items() if name != "Authorization"}
            url = target
            response.close()
        raise _failure(errors.Retryable, at, f"{at.host} redirects without end")

    async def _fetch_token(self, at: Reference, response: aiohttp.ClientResponse) -> None:
        """Get an anonymous token by the challenge of a 401."""
        wanted = challenges.bearer(
            response.headers.getall("WWW-Authenticate", []), f"repository:{at.path}:pull"
        )
        said = await answers.said(response)
        if wanted is None:
            raise _failure(
                errors.Retryable, at, f"{at.host} wants credentials, and none are known here{said}"
            )
        try:
            if not challenges.is_safe_realm(wanted.realm, plain_registry=self._is_plain(at)):
                raise ValueError("it is not HTTPS")
            url = yarl.URL(wanted.realm).update_query(wanted.query())
        except ValueError as error:
            why = f"{at.host} wants a token from {wanted.realm!r}: {error}"
            raise _failure(errors.Retryable, at, why) from error
        async with contextlib.AsyncExitStack() as stack:
            answer = await self._follow(stack, at, url, {})
            if answer.status in {400, 401, 403}:
                raise _denied(at)
            await answers.check(answer)
            content = await answers.read(answer, _TOKEN_MOST_BYTES)
        token = challenges.token(content or b"")
        if token is None:
            raise _failure(errors.Retryable, at, f"{url.host} answered without a token")
        until = asyncio.get_running_loop().time() + token.lives_s
        self._tokens[at.domain, at.path] = (token.value, until)

    def _authorization(self, at: Reference) -> dict[str, str]:
        value, until = self._tokens.get((at.domain, at.path), ("", 0.0))
        alive = asyncio.get_running_loop().time() < until
        return {"Authorization": f"Bearer {value}"} if alive else {}

    def _is_plain(self, at: Reference) -> bool:
        return at.loopback or at.domain in self._insecure


async def _pour(
    response: aiohttp.ClientResponse, incoming: Incoming, progress: Callable[[int], None]
) -> None:
    """Pass the body on in large steps, each hashed and written in a thread."""
    received = 0
    pending = bytearray()
    async for chunk in response.content.iter_any():
        pending += chunk
        received += len(chunk)
        if len(pending) >= _CHUNK_BYTES:
            step, pending = bytes(pending), bytearray()
            await threads.finish(incoming.write, step)
            progress(received)
    await threads.finish(incoming.write, bytes(pending))
    await threads.finish(incoming.commit)
    progress(received)


def _name(at: Reference, wanted: str) -> str:
    return f"{at.path}@{wanted}" if wanted.startswith("sha256:") else f"{at.path}:{wanted}"


def _denied(at: Reference) -> errors.Retryable:
    return _failure(
        errors.Retryable,
        at,
        f"{at.host} gives no anonymous token for it: it may not exist, or wants credentials, "
        "and none are known here",
    )


Failure = TypeVar("Failure", bound=errors.NodeError)


def _failure(kind: type[Failure], at: Reference, why: str) -> Failure:
    return kind(f"cannot pull {at.text}: {why}", reason="ErrImagePull")
