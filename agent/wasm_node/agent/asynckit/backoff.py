"""Growing waits between tries, with jitter, so that many do not try at once."""

import random


class Backoff:
    """
    Yields waits in seconds: from `first_s`, doubling up to `most_s`.

    Each is shortened by a random part of at most half.
    """

    def __init__(self, *, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Return how long to wait before the next try."""
        wait = self._next_s
        self._next_s = min(2 * wait, self._most_s)
        return wait * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, keeps no secret

    def reset(self) -> None:
        """Begin the series anew."""
        self._next_s = self._first_s
