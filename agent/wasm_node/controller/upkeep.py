"""
Wasm nodes and their hosts: marks, zone and region, and the end.

`operator` names the wasm nodes there are; what is written is decided on what
the API server says at that moment. A Node is deleted only when its host was
not there in each look of a while, and not a moment before either.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from wasm_node.controller import apiserver, events, hosting, known, lookup, settings

log = logging.getLogger(__name__)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_EVERY_S = 60.0


class Upkeep:
    """Keeps the wasm nodes that it is told of as their hosts are."""

    def __init__(
        self, api: apiserver.Api, policy: settings.Settings, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._policy = policy
        self._clock = clock
        self._marked: dict[str, bool] = {}
        self._gone_since: dict[str, float] = {}
        self._woken = asyncio.Event()
        self.beat = clock()
        """When the loop last came round, by the clock; for the health probe."""

    def look_at(self, name: str) -> None:
        """Take up a wasm node; a new one is looked at now."""
        if name not in self._marked:
            self._marked[name] = False
            self._woken.set()

    def look_again(self) -> None:
        """Look at those that have no mark now: an agent's pod has changed."""
        self._woken.set()

    def forget(self, name: str) -> None:
        """Let go of a node that is gone."""
        self._marked.pop(name, None)
        self._gone_since.pop(name, None)

    async def run(self) -> None:
        """Work until cancelled."""
        every_s = min(_EVERY_S, self._policy.stale_after_seconds)
        all_due = self._clock()
        while True:
            self._woken.clear()
            self.beat = self._clock()
            if self.beat >= all_due:
                due, all_due = sorted(self._marked), self.beat + every_s
            else:  # a rollout has many events, and says nothing new of marked nodes
                due = sorted(name for name, marked in self._marked.items() if not marked)
            await self._round(due)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, all_due - self._clock())):
                    await self._woken.wait()

    async def _round(self, due: list[str]) -> None:
        if not due:
            return
        try:
            pods = await lookup.agent_pods(self._api, self._policy)
        except apiserver.ApiError as error:
            log.warning("Looking after the nodes: %s", error)
            return
        for name in due:
            self.beat = self._clock()
            try:
                await self._look(name, pods)
            except apiserver.ApiError as error:
                log.warning("Looking after node %s: %s", name, error)

    async def _look(self, name: str, pods: tuple[known.AgentPod, ...]) -> None:
        node = await lookup.node(self._api, name)
        if node is None or not node.is_wasm:
            self.forget(name)
            return
        if (host := hosting.host_of(node, self._policy, pods)) is None:
            return
        if (found := await lookup.node(self._api, host)) is not None:
            self._gone_since.pop(name, None)
            await self._match(node, found)
        elif node.joined_by:
            gone_s = self._clock() - self._gone_since.setdefault(name, self._clock())
            if gone_s >= self._policy.stale_after_seconds:
                await self._remove(node, gone_s)

    async def _match(self, node: known.Node, host: known.Node) -> None:
        change = hosting.change(node, host, self._policy.release)
        if change is None:
            self._marked[node.name] = True
            return
        meta = {"labels": change.labels, "annotations": change.annotations, "uid": node.uid}
        path = f"{lookup.NODES}/{node.name}"
        await self._api.call("PATCH", path, {"metadata": meta}, content_type=apiserver.MERGE)
        wrote = {**change.labels, **change.annotations}
        log.info("Node %s is on host %s: wrote %s", node.name, host.name, wrote)

    async def _remove(self, node: known.Node, gone_s: float) -> None:
        await self._api.delete(f"{lookup.NODES}/{node.name}", node.uid)
        await self._api.delete(f"{LEASES}/{node.name}")
        self.forget(node.name)
        text = f"its host {node.host} is gone for {gone_s:.0f} s: removed the node"
        log.info("Node %s: %s", node.name, text)
        about = {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "uid": node.uid}
        }  # fmt: skip
        await events.tell(self._api, about, "Normal", "HostGone", text)
