"""
The end of the runtime: all attempts end, critical pods' after the others'.

As a kubelet's graceful node shutdown (nodeshutdown_manager.go, killPods and
migrateConfig): the pods of one group are told at once and have that group's
time, each no more than it can use; the next group's turn comes when they have
ended, or with their time. Who tells us twice wants it over at once.
"""

import time
from collections.abc import Callable, Sequence

from wasm_node.protocol import records, settings
from wasm_node.runtime import attempts, eventloop

_LOOK_AGAIN_S = 0.02


class Shutdown:
    """Ends all attempts, and then the loop."""

    def __init__(
        self,
        loop: eventloop.EventLoop,
        known: attempts.Attempts,
        wanted: settings.RuntimeSettings,
        stop: Callable[[records.AttemptId, float], None],
    ) -> None:
        self._loop = loop
        self._known = known
        self._wanted = wanted
        self._stop = stop
        self.has_begun = False

    def ask(self, _signals: bytes) -> None:
        """Begin; asked again, hurry."""
        if self.has_begun:
            for each in self._known.unfinished():
                self._stop(each.id, 0.0)
            return
        self.has_begun = True
        critical_s = self._wanted.shutdown_grace_critical_s
        others_s = self._wanted.shutdown_grace_s - critical_s
        others, critical = _groups(tuple(self._known.unfinished()))
        self._tell(others, others_s)
        self._go_on(others, time.monotonic() + others_s, critical, critical_s)

    def _tell(self, group: Sequence[attempts.Attempt], most_s: float) -> None:
        for each in group:
            worth = each.stop_grace_s()
            self._stop(each.id, most_s if worth is None else min(most_s, worth))

    def _go_on(
        self,
        group: Sequence[attempts.Attempt],
        until: float,
        then: Sequence[attempts.Attempt],
        then_s: float,
    ) -> None:
        left = [each for each in group if each.phase is not attempts.Phase.ENDED]
        if then and (not left or time.monotonic() >= until):
            self._tell(then, then_s)
            left, until, then = [*left, *then], 0.0, ()
        if left or then:
            self._loop.later(_LOOK_AGAIN_S, lambda: self._go_on(left, until, then, then_s))
        elif late := tuple(self._known.unfinished()):
            self._tell(late, 0.0)
            self._go_on(late, 0.0, (), 0.0)
        else:
            self._loop.stop()


def _groups(
    found: Sequence[attempts.Attempt],
) -> tuple[list[attempts.Attempt], list[attempts.Attempt]]:
    """Return those of ordinary pods, and those of critical ones."""
    ranks = [(each, each.priority() >= records.CRITICAL_PRIORITY) for each in found]
    return [each for each, high in ranks if not high], [each for each, high in ranks if high]
