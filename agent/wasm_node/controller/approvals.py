"""
Certificate requests, one after the other: read, judge, write.

`operator` names a request when something happened to it; whatever is decided
is decided here, on what the API server says at that moment, and written under
the request's resource version. So a watch that is late or has missed
something costs time, never a wrong grant, and everything may happen twice.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Any, assert_never

from wasm_node.controller import apiserver, events, known, lookup, objects, rules, settings

log = logging.getLogger(__name__)

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SOONEST_S = 1.0
_LATEST_S = 60.0
_AGEING = 0.25
"""A request is looked at again after this part of its age."""


@dataclasses.dataclass
class _Pending:
    since: float
    due: float


class Approvals:
    """Decides about the requests that it is told of, until they are decided."""

    def __init__(
        self, api: apiserver.Api, policy: settings.Settings, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._policy = policy
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        self._woken = asyncio.Event()
        self.beat = clock()
        """When the loop last came round, by the clock; for the health probe."""

    def look_at(self, name: str) -> None:
        """Take up a request, or look at it now."""
        now = self._clock()
        self._pending.setdefault(name, _Pending(now, now)).due = now
        self._woken.set()

    def look_again(self) -> None:
        """Look at all of them now: an agent's pod has changed."""
        for name in list(self._pending):
            self.look_at(name)

    def forget(self, name: str) -> None:
        """Let go of a request that is decided, or gone."""
        self._pending.pop(name, None)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._woken.clear()
            self.beat = now = self._clock()
            if due := [name for name, each in self._pending.items() if each.due <= now]:
                await self._round(due)
            await self._pause()

    async def _pause(self) -> None:
        soonest = min((each.due for each in self._pending.values()), default=float("inf"))
        try:
            async with asyncio.timeout(min(_LATEST_S, max(0.0, soonest - self._clock()))):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _round(self, due: list[str]) -> None:
        try:
            pods = await lookup.agent_pods(self._api, self._policy)
        except apiserver.ApiError as error:
            log.warning("Looking at %d certificate requests: %s", len(due), error)
            pods = None
        for name in due:
            if (pending := self._pending.get(name)) is None:
                continue
            self.beat = self._clock()
            age_s = self.beat - pending.since
            pending.due = self.beat + min(max(age_s * _AGEING, _SOONEST_S), _LATEST_S)
            if pods is None:
                continue
            try:
                await self._decide(name, pods, age_s)
            except apiserver.ApiError as error:
                log.warning("Certificate request %s: %s", name, error)
            except Exception:  # one odd request must not stop all others
                log.exception("Certificate request %s: cannot decide", name)

    async def _decide(self, name: str, pods: tuple[known.AgentPod, ...], age_s: float) -> None:
        body = await self._api.find(f"{CSRS}/{name}")
        csr = objects.csr(body) if body is not None else None
        if body is None or csr is None:
            self.forget(name)
            return
        meant = rules.node_meant(csr, self._policy)
        node = await lookup.node(self._api, meant) if meant else None
        verdict = rules.judge(csr, self._policy, rules.Facts(node, pods, age_s))
        match verdict:
            case rules.Ignore() if age_s >= rules.PATIENCE_S:
                self.forget(name)
            case rules.Approve():
                await self._write(body, "Approved", "AutoApproved", verdict.message)
            case rules.Deny():
                await self._write(body, "Denied", verdict.reason, verdict.message)
                await events.tell(self._api, body, "Warning", verdict.reason, verdict.message)
            case rules.Ask() if age_s >= rules.PATIENCE_S:
                await events.tell(self._api, body, "Normal", "NeedsApproval", verdict.message)
            case rules.Ignore() | rules.Ask() | rules.Wait():
                log.debug("Certificate request %s: %s", name, verdict)
            case never:
                assert_never(never)

    async def _write(self, body: dict[str, Any], kind: str, reason: str, message: str) -> None:
        """
        Decide a request, unless it has changed since `body` was read.

        Raises:
            ApiError: 409 if it has; it is looked at again.
        """
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        decided = {**body, "status": {**body.get("status", {}), "conditions": [condition]}}
        name, author = body["metadata"]["name"], body["spec"].get("username")
        await self._api.call("PUT", f"{CSRS}/{name}/approval", decided)
        log.info("%s certificate request %s of %s: %s", kind, name, author, message)
        self.forget(name)
