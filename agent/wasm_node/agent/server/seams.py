"""What the kubelet API needs of the rest of the node, and gets from the app."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import web

from wasm_node.agent.model import access, log_options


class Reviewer(Protocol):
    """The cluster's word on who somebody is and what they may do."""

    async def authenticate(self, token: str) -> access.Identity | None:
        """
        Return whose bearer token it is; None: nobody's.

        Raises:
            NodeError: nobody can tell now.
        """

    async def authorize(self, identity: access.Identity, wanted: access.Access) -> access.Decision:
        """
        Return whether this user may do that.

        Raises:
            NodeError: nobody can tell now.
        """


class PodLogs(Protocol):
    """The logs of this node's containers."""

    def open(
        self, namespace: str, pod: str, container: str, options: log_options.LogOptions
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """
        Open a log; entering gives what there is to show, in pieces.

        No piece is read before the last one was taken. Leaving frees all.

        Raises:
            NotFound: no such pod, container or log.
            BadInput: no such attempt (yet).
            Retryable: it cannot be read now.
        """


LOGS = web.AppKey("LOGS", PodLogs)
METRICS: web.AppKey[Callable[[], Awaitable[bytes]]] = web.AppKey("METRICS")
"""Gives Prometheus' text format."""
