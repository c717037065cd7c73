"""
Following the API server for as long as a test wants to know: on a thread.

A connection that breaks (the API server went away) is begun anew; what follows
carries on where that makes sense, or begins with the state as it is by then.
"""

import abc
import contextlib
import http.client
import threading
from collections.abc import Iterator
from typing import Self

from e2e.cluster import api

_BETWEEN_TRIES_S = 0.1
"""Nothing depends on its length."""


class Follower(abc.ABC):
    """Follows while it is a context; leaving that ends stream and thread."""

    def __init__(self, client: api.Api, name: str) -> None:
        self._api = client
        self._stream: api.Stream | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if (stream := self._stream) is not None:
            stream.interrupt()
        self._thread.join()

    @abc.abstractmethod
    def _follow(self) -> None:
        """Follow until it breaks or ends; then this is called again."""

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[api.Stream]:
        """Open a watch that ends with the context, if nothing else ends it."""
        with self._api.stream(path) as stream:
            self._stream = stream
            if self._over.is_set():  # NB: who has set it before that has not seen it
                stream.interrupt()
            yield stream

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                self._follow()
            except (OSError, http.client.HTTPException, ValueError, api.Refused):
                self._over.wait(_BETWEEN_TRIES_S)
