"""An API server's end of our interfaces, in memory: small, typed, obedient."""

import asyncio
from collections.abc import Mapping
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.model import actions, ids


class FakeSink:
    """StatusSink that keeps what it is given; `fail_next` makes writes fail."""

    def __init__(self) -> None:
        self.writes: list[tuple[ids.PodRef, Mapping[str, Any]]] = []
        self.removed: list[ids.PodRef] = []
        self.fail_next = 0
        self.gate: asyncio.Event | None = None

    async def write(self, pod: ids.PodRef, status: Mapping[str, Any]) -> None:
        """Keep the status."""
        if self.gate is not None:
            await self.gate.wait()
        if self.fail_next > 0:
            self.fail_next -= 1
            raise errors.Retryable("cannot reach the API server", reason="APIUnavailable")
        if pod in self.removed:
            raise errors.NotFound(f"pod {pod} not found", reason="NotFound")
        self.writes.append((pod, status))

    async def remove(self, pod: ids.PodRef) -> None:
        """Remember the removal."""
        self.removed.append(pod)

    def phases(self) -> list[str]:
        """Return the phases written, in order."""
        return [str(status["phase"]) for _, status in self.writes]


class FakeEvents:
    """Events in a list."""

    def __init__(self) -> None:
        self.emitted: list[tuple[ids.PodRef, actions.Event]] = []

    def emit(self, pod: ids.PodRef, event: actions.Event) -> None:
        """Keep the event."""
        self.emitted.append((pod, event))

    def reasons(self) -> list[str]:
        """Return the reasons, in order."""
        return [event.reason for _, event in self.emitted]


class FakeNode:
    """NodeObject in memory; `answers` False is an API server that is away."""

    def __init__(self) -> None:
        self.node: dict[str, Any] | None = None
        self.answers = True
        self.renewals = 0
        self.statuses: list[Mapping[str, Any]] = []

    def _check(self) -> None:
        if not self.answers:
            raise errors.Retryable("cannot reach the API server", reason="APIUnavailable")

    async def get(self) -> dict[str, Any] | None:
        """Return the Node."""
        self._check()
        return self.node

    async def create(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the Node and give it a uid."""
        self._check()
        self.node = {**node, "metadata": {**node["metadata"], "uid": "n1"}}
        return self.node

    async def patch(self, change: Mapping[str, Any]) -> None:
        """Merge labels."""
        self._check()
        assert self.node is not None
        self.node["metadata"]["labels"] |= change["metadata"]["labels"]

    async def patch_status(self, status: Mapping[str, Any]) -> None:
        """Keep the status."""
        self._check()
        if self.node is None:
            raise errors.NotFound("node not found", reason="NotFound")
        self.statuses.append(status)
        self.node["status"] = status

    async def renew_lease(self, node_uid: str, duration_s: int, now: float) -> None:
        """Count."""
        self._check()
        self.renewals += 1
