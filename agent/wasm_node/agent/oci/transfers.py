"""
Blobs and documents on their way into the store, few at a time, each once.

Between the puller, which knows what it wants, and the registry client, which
is imported at the first need: a process that runs what is here already never
pays for it.
"""

import asyncio
import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from wasm_node.agent.asynckit import singleflight, threads
from wasm_node.agent.model.ids import Digest
from wasm_node.agent.oci import documents, reference, store, timeouts

if TYPE_CHECKING:
    from wasm_node.agent.oci import registry


class Transfers:
    """Fetches for one store, at most `parallel` blobs at a time."""

    def __init__(
        self,
        kept: store.Store,
        insecure: frozenset[str],
        patience: timeouts.Timeouts,
        *,
        parallel: int,
    ) -> None:
        self._store = kept
        self._insecure = insecure
        self._patience = patience
        self._slots = asyncio.Semaphore(parallel)
        self._flights: singleflight.SingleFlight[Digest, None] = singleflight.SingleFlight()
        self._client: registry.Registry | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.__aexit__()

    async def document(self, at: reference.Reference, wanted: str) -> bytes:
        """
        Fetch a manifest or index by tag or digest; it is not stored.

        Raises:
            NotFound: the registry has no such thing.
            Retryable: anything else.
        """
        return await (await self._registry()).document(at, wanted)

    async def blob(
        self, at: reference.Reference, wanted: documents.Descriptor, tell: Callable[[int], None]
    ) -> None:
        """
        Have a blob in the store; `tell` gets its bytes so far.

        Whoever wants the same blob meanwhile waits for this transfer.

        Raises:
            Retryable: it did not arrive, or not as announced.
        """
        await self._flights.do(wanted.digest, functools.partial(self._fetch, at, wanted, tell))

    async def _fetch(
        self, at: reference.Reference, wanted: documents.Descriptor, tell: Callable[[int], None]
    ) -> None:
        client = await self._registry()
        receive = functools.partial(store.Incoming, self._store, wanted.digest, wanted.size_bytes)
        async with self._slots:
            await client.blob(at, wanted, receive, tell)

    async def _registry(self) -> "registry.Registry":
        async with self._connecting:
            if self._client is None:
                made = await threads.finish(importlib.import_module, "wasm_node.agent.oci.registry")
                client: registry.Registry = made.Registry(
                    insecure=self._insecure, timeouts=self._patience
                )
                self._client = await client.__aenter__()
            return self._client
