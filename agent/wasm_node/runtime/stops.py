"""
Stopping attempts: on record first, then patience, then the signal.

Wasm has no signals, so a grace period is only time in which the guest may end
by itself. Then its worker is told; it saves the output and ends. One that does
not within a second is killed. A worker that serves HTTP is told at once, since
it knows what to do with its grace: answer what it has been asked.
"""

import signal
import time

from wasm_node.protocol import journal
from wasm_node.runtime import attempts, eventloop

_KILL_AFTER_S = 1.0
LEAST_S = 2.0
"""minimumGracePeriodInSeconds: of a container, whatever it has waited for."""


class Stops:
    """All attempts that are about to be ended."""

    def __init__(self, loop: eventloop.EventLoop) -> None:
        self._loop = loop
        self._timers: dict[attempts.Attempt, eventloop.Timer] = {}

    def stop(self, attempt: attempts.Attempt, grace_s: float, *, shutdown: bool = False) -> None:
        """
        Have a running attempt end; asking again may shorten its grace.

        Why it ends, `shutdown` or not, is what was said first.
        """
        now = time.time_ns()
        deadline = now + int(grace_s * 1e9)
        if attempt.stop is not None:
            if attempt.stop.deadline_ns <= deadline and not attempt.stop.held:
                return
            shutdown = attempt.stop.shutdown
            deadline = min(deadline, _latest_ns(attempt.stop))
            grace_s = (deadline - now) / 1e9
        if attempt.http is not None:
            attempt.note_stop(journal.StopNote(deadline, signalled=True, shutdown=shutdown))
            self._drain(attempt)
            return
        if grace_s > 0:
            attempt.note_stop(journal.StopNote(deadline, signalled=False, shutdown=shutdown))
        self._arm(attempt, grace_s, lambda: self._tell(attempt, shutdown=shutdown))

    def hold(self, attempt: attempts.Attempt, most_s: float) -> None:
        """
        Have a running attempt end for a shutdown, once `stop` is asked.

        It is told in any case, two seconds after `most_s`: so much is left to
        it by a hook, or others of its pod, that take all of that. One that
        stops already goes on.
        """
        if attempt.stop is None:
            deadline = time.time_ns() + int(most_s * 1e9)
            attempt.note_stop(journal.StopNote(deadline, signalled=False, shutdown=True, held=True))
            self.resume(attempt)
        elif not attempt.is_held:
            self.stop(attempt, most_s, shutdown=True)

    def resume(self, attempt: attempts.Attempt) -> None:
        """Go on with a stop that an earlier supervisor began."""
        if attempt.stop is not None and attempt.http is not None and not attempt.is_held:
            self._drain(attempt)
        elif attempt.stop is not None:
            left_s = (_latest_ns(attempt.stop) - time.time_ns()) / 1e9
            shutdown = attempt.stop.shutdown
            self._arm(attempt, left_s, lambda: self._tell(attempt, shutdown=shutdown))

    def _drain(self, attempt: attempts.Attempt) -> None:
        # It ends by itself once it has answered what it was asked.
        assert attempt.stop is not None  # noqa: S101  # noted by the callers
        attempt.send_signal(signal.SIGTERM)
        left_s = (attempt.stop.deadline_ns - time.time_ns()) / 1e9
        self._arm(attempt, left_s, lambda: attempt.send_signal(signal.SIGKILL))

    def over(self, attempt: attempts.Attempt) -> None:
        """Give up on an attempt that has ended."""
        timer = self._timers.pop(attempt, None)
        if timer is not None:
            timer.cancel()

    def _arm(self, attempt: attempts.Attempt, delay_s: float, then: eventloop.Callback) -> None:
        self.over(attempt)
        if delay_s > 0:
            self._timers[attempt] = self._loop.later(delay_s, then)
        else:
            then()

    def _tell(self, attempt: attempts.Attempt, *, shutdown: bool) -> None:
        attempt.note_stop(journal.StopNote(time.time_ns(), signalled=True, shutdown=shutdown))
        attempt.send_signal(signal.SIGTERM)
        self._arm(attempt, _KILL_AFTER_S, lambda: attempt.send_signal(signal.SIGKILL))


def _latest_ns(stop: journal.StopNote) -> int:
    return stop.deadline_ns + (int(LEAST_S * 1e9) if stop.held else 0)
