"""
The logs of this node's pods, by the names that users know them by.

The kubelet API asks here. What the node knows comes through two questions,
answered by whoever owns the stores; everything else about logs is this room's.
"""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence

from wasm_node.agent import errors
from wasm_node.agent.logs import changes, choosing, following, store
from wasm_node.agent.model import ids, log_options, podstatus
from wasm_node.protocol import records


@dataclasses.dataclass(frozen=True)
class Reported:
    """A pod of this node, and its containers' statuses as reported now."""

    ref: ids.PodRef
    containers: Sequence[podstatus.ContainerStatus]


class PodLogs:
    """
    Opens logs by namespace, pod and container.

    Attributes:
        look_up: (namespace, name) to what is reported; None: not on this node.
        is_running: whether this very attempt has not ended yet.
    """

    def __init__(
        self,
        logs: store.CriLogStore,
        news: changes.Changes,
        *,
        look_up: Callable[[str, str], Reported | None],
        is_running: Callable[[records.AttemptId], bool],
    ) -> None:
        self._logs = logs
        self._news = news
        self._look_up = look_up
        self._is_running = is_running

    @contextlib.asynccontextmanager
    async def open(
        self, namespace: str, pod: str, container: str, options: log_options.LogOptions
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """
        Open one container's log, as `following.open_log` does.

        Raises:
            NotFound: no such pod, container or log.
            BadInput: no such attempt (yet).
            Retryable: it cannot be read now.
        """
        found = self._look_up(namespace, pod)
        if found is None:
            raise errors.NotFound(f'pod "{pod}" does not exist', reason="NotFound")
        number = choosing.choose_attempt(
            pod, container, found.containers, previous=options.previous
        )
        attempt = records.AttemptId(found.ref.uid, container, number)
        async with following.open_log(
            self._logs.locate(found.ref, container, number),
            options,
            is_running=lambda: self._is_running(attempt),
            news=self._news,
        ) as shown:
            yield shown
