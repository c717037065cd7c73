"""
What a registry's answers mean: bounded reading, statuses, words for failures.

Part of `oci.registry`, which asks; here one answer is looked at. A registry's
own words are shown, as they often say what to do, but shortened and tamed.
"""

import json
import os

import aiohttp
import yarl

from wasm_node.agent.oci import documents

REDIRECTS = (301, 302, 303, 307, 308)

_ERROR_MOST_BYTES = 64 << 10
_NEVER = float("inf")


class PassingError(Exception):
    """
    An answer that is none.

    Attributes:
        wait_s: before another try; infinite if that is in vain for now.
    """

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


async def read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes | None:
    """Return a body; None: it is larger than it may be."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > most_bytes:
            return None
    return bytes(content)


async def check(response: aiohttp.ClientResponse) -> None:
    """Raise what a status other than 200 means."""
    status, host = response.status, response.url.host
    if status == 200:
        return
    why = await said(response)
    if status == 429 or status >= 500:
        raise PassingError(f"{host} answered {status}{why}", _retry_after_s(response))
    if status in {401, 403}:
        raise PassingError(
            f"{host} denies it ({status}{why}): it may not exist, or wants credentials, "
            "and none are known here",
            wait_s=_NEVER,
        )
    raise PassingError(f"{host} answered {status}{why}", wait_s=_NEVER)


async def said(response: aiohttp.ClientResponse) -> str:
    """Return a registry's own words on a failure, shortened, or nothing."""
    content = await read(response, _ERROR_MOST_BYTES)
    try:
        first = json.loads(content or b"")["errors"][0]
        words = f"{first['code']}: {first.get('message') or ''}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""
    return f" ({documents.printable(words)})"


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def redirected(response: aiohttp.ClientResponse) -> yarl.URL | None:
    """Return where a redirect leads; None: to nothing that is HTTP."""
    try:
        target = response.url.join(yarl.URL(response.headers["Location"]))
        return target if target.scheme in {"http", "https"} and target.host else None
    except (KeyError, ValueError):
        return None


def is_final(error: Exception) -> bool:
    """Say whether another try is in vain: a wrong certificate, a bad URL."""
    return isinstance(error, aiohttp.ClientSSLError | aiohttp.InvalidURL)


def words(host: str, error: Exception) -> str:
    """Say what went wrong on the way to a host."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"there is no host {host}: {error.os_error.strerror}"
        case aiohttp.ClientSSLError():
            return f"{host} cannot be spoken to by HTTPS: {error}"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            why = os.strerror(number) if number else str(error.os_error)
            return f"{host} cannot be reached: {why}"
        case aiohttp.ClientPayloadError():
            return f"{host} ended in the middle of its answer"
        case _:
            return f"{host} failed: {str(error) or type(error).__name__}"
