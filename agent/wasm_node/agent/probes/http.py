"""
httpGet: passes on any status from 200 to 399.

The rules are the kubelet's (pkg/probe/http: http.go, request.go), and so are
the words of a failure, which people look for: no certificate is checked, no
proxy is used, redirects are followed while the host name stays the same, and
User-Agent and Accept are ours unless the probe names its own. What breaks in
the middle of a body counts for nothing: the status had been good.
"""

import asyncio
import dataclasses
import functools
import re
import ssl
from collections.abc import Callable
from typing import Self, TypeAlias
from urllib import parse

from wasm_node.agent.model import probe
from wasm_node.agent.probes import dialing, exchange

_Judge: TypeAlias = Callable[[int, bytes], probe.Outcome]
"""What an answer means: its status, and the beginning of its body."""

_DURING_BODY = "or context cancellation while reading body"
_MOST_REDIRECTS = 10
_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_OURS = frozenset({"host", "content-length", "transfer-encoding", "trailer"})
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNQUOTED = "/%:@!$&'()*+,;=~?-._[]"


@dataclasses.dataclass(frozen=True)
class _Url:
    scheme: probe.Scheme
    at: probe.Endpoint
    target: str

    @classmethod
    def of(cls, scheme: probe.Scheme, at: probe.Endpoint, path: str) -> Self:
        try:
            split = parse.urlsplit(path)
        except ValueError:  # passed along as it is
            split = parse.SplitResult("", "", path, "", "")
        query = f"?{split.query}" if split.query else ""
        target = _STRAY_PERCENT.sub("%25", f"/{split.path.removeprefix('/')}{query}")
        return cls(scheme, at, parse.quote(target, safe=_UNQUOTED))

    def __str__(self) -> str:
        return f"{self.scheme}://{dialing.shown(self.at)}{self.target}"

    def following(self, location: str) -> "_Url | None":
        """Return where a redirect leads; None: to another host, or nowhere."""
        try:
            to = parse.urlsplit(parse.urljoin(str(self), location))
            port = to.port or _PORTS.get(to.scheme)
        except ValueError:
            return None
        if port is None or to.scheme not in _PORTS or to.hostname != self.at.host.lower():
            return None
        at = self.at if port == self.at.port else probe.Endpoint(self.at.host, port)
        return _Url.of(probe.Scheme(to.scheme), at, to._replace(scheme="", netloc="").geturl())


class _Trial:
    """One check under way: where it is by now, and if it has an answer."""

    def __init__(self, check: probe.HttpGet, at: probe.Endpoint, agent: str, judge: _Judge) -> None:
        self._agent = agent
        self._judge = judge
        self.url = _Url.of(check.scheme, at, check.path)
        self.answered = False
        self._headers = check.headers
        self._host = next((value for name, value in check.headers if name.lower() == "host"), "")

    async def run(self) -> probe.Outcome:
        for _ in range(_MOST_REDIRECTS):
            outcome = await self._ask()
            if outcome is not None:
                return outcome
        return self.failed(f"stopped after {_MOST_REDIRECTS} redirects")

    def failed(self, why: str) -> probe.Failed:
        return probe.Failed(f'Get "{self.url}": {why}')

    async def _ask(self) -> probe.Outcome | None:
        """Ask once; None: the answer leads elsewhere."""
        host = self._host or dialing.shown(self.url.at)
        asked = exchange.request(
            self.url.target, [("Host", host), *_headers(self._headers, self._agent)]
        )
        secure = _unchecked() if self.url.scheme is probe.Scheme.HTTPS else None
        reader, writer = await dialing.connect(self.url.at, secure)
        try:
            writer.write(asked)
            answer = await exchange.head(reader)
            location = answer.headers.get("location")
            if answer.status in _FOLLOWED and location is not None:
                following = self.url.following(location)
                if following is not None:
                    self.url = following
                    if parse.urlsplit(location).netloc:
                        self._host = ""
                    return None
            self.answered = True
            return self._judge(answer.status, await exchange.body(reader, answer))
        finally:
            writer.transport.abort()  # nobody waits for a goodbye


async def get(check: probe.HttpGet, at: probe.Endpoint, timeout_s: float) -> probe.Outcome:
    """Ask as a probe does, redirects included."""
    return await _within(timeout_s, _Trial(check, at, "kube-probe/1.37", _judged))


async def call(check: probe.HttpGet, at: probe.Endpoint, timeout_s: float) -> probe.Outcome:
    """Ask as a hook does: any answer will do (lifecycle/handlers.go)."""
    trial = _Trial(check, at, "kube-lifecycle/1.37", lambda _status, _body: probe.Passed())
    return await _within(timeout_s, trial)


async def _within(timeout_s: float, trial: _Trial) -> probe.Outcome:
    try:
        async with asyncio.timeout(timeout_s):
            return await trial.run()
    except TimeoutError:
        during = _DURING_BODY if trial.answered else "exceeded while awaiting headers"
        why = f"context deadline exceeded (Client.Timeout {during})"
    except (dialing.UnreachableError, exchange.UnsendableError) as error:
        return trial.failed(str(error))
    except EOFError:
        why = "unexpected EOF" if trial.answered else "EOF"
    except OSError as error:
        why = f"read: {dialing.why(error)}"
    except exchange.MalformedError as error:
        why = f"net/http: HTTP/1.x transport connection broken: {error}"
    return probe.Unclear(why, "failure") if trial.answered else trial.failed(why)


def _judged(status: int, body: bytes) -> probe.Outcome:
    if not 200 <= status < 400:  # NB: without the body, which may hold secrets
        return probe.Failed(f"HTTP probe failed with statuscode: {status}")
    if status < 300:
        return probe.Passed()
    said = body.decode(errors="replace")
    return probe.Passed(f"Probe terminated redirects, Response body: {said}")


def _headers(given: tuple[tuple[str, str], ...], agent: str) -> list[tuple[str, str]]:
    """Give the headers of a probe with our defaults; an empty one unsets."""
    sent = []
    for name, usual in (("User-Agent", agent), ("Accept", "*/*")):
        own = [value for each, value in given if each.lower() == name.lower()] or [usual]
        sent += [(name, value) for value in own if own[0]]
    left_out = {*_OURS, "user-agent", "accept"}
    return sent + [each for each in given if each[0].lower() not in left_out]


@functools.cache
def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
