"""
Having attempts end: their container's preStop hook first, then the stop.

Part of `loops.reconcile`, which asks again whenever it plans; so a hook that is
done only has it plan once more. The rules are the kubelet's killContainer: the
hook has the grace period, what it leaves is the container's, and that is two
seconds at least, with a hook or without. What is asked again with less time
begins anew with that. A sidecar that others have to end before calls its hook
meanwhile. It is stopped when its turn comes, with what it and they have left,
or when its time is over, whoever still runs.

So only a grace period of 0 is no time for a hook. A pod that ends has a second
in any case, deleted by force too (`desired.LEAST_GRACE_S`). What is left is a
container of a pod that lives on, whose manifest says 0, and which has failed a
probe or gets another image.

That a container is stopped is an event, once for each attempt. So it is when
the runtime ends and stops it without us: its fact says so. That is told on the
spot, since the end may follow at once.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection

from wasm_node.agent import interfaces
from wasm_node.agent.loops import hooking
from wasm_node.agent.model import actions, desired, hooks, ids
from wasm_node.agent.plan import order
from wasm_node.agent.plan import pods as planning
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

log = logging.getLogger(__name__)

_SAME_S = 1.0
"""Sooner by less is the same time, computed again."""


@dataclasses.dataclass(eq=False)
class _Stop:
    """One that is under way; `until` is by the monotonic clock."""

    until: float
    hook: asyncio.Task[None] | None = None
    wait: asyncio.Task[None] | None = None
    """Until its time to await its turn is over; None: it never had to."""

    def holds(self, *, waits: bool) -> bool:
        """Say whether it is too early to tell the attempt."""
        late = self.wait if waits else None
        return any(each is not None and not each.done() for each in (self.hook, late))

    def cancel(self) -> None:
        """Wait no more, for the hook or for its turn."""
        for each in (self.hook, self.wait):
            if each is not None:
                each.cancel()


class Stopper:
    """Stops attempts, each as often as it is asked to."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        containers: interfaces.Containers,
        caller: hooking.Caller,
        events: interfaces.Events,
        clock: interfaces.Clock,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._containers = containers
        self._caller = caller
        self._events = events
        self._clock = clock
        self._stops: dict[ids.PodUid, dict[records.AttemptId, _Stop]] = {}
        self._told: dict[ids.PodUid, set[records.AttemptId]] = {}
        """Those of which it was said that they are stopped."""
        seen.listen(self._look)

    async def stop(
        self,
        group: asyncio.TaskGroup,
        pod: desired.DesiredPod,
        wanted: actions.StopContainer,
        again: Callable[[ids.PodUid], None],
    ) -> None:
        """
        Stop an attempt, or go on with it; `again` when there is more to do.

        Raises:
            NodeError: the runtime cannot be told now.
        """
        attempt, now = wanted.attempt, self._clock.monotonic()
        least_s = 0.0 if pod.ends_at_once else order.LEAST_GRACE_S
        until = now + wanted.grace_s
        under_way = self._stops.setdefault(pod.ref.uid, {})
        stop = under_way.get(attempt)
        if stop is None:
            stop = under_way[attempt] = _Stop(until)
            self._tell(pod, attempt, wanted.why)
            stop.hook = self._hook_of(group, pod, wanted, again)
        elif until < stop.until - _SAME_S:
            is_calling = stop.hook is not None and not stop.hook.done()
            stop.cancel()
            stop.until, stop.wait = until, None
            if is_calling:
                stop.hook = self._hook_of(group, pod, wanted, again)
        if wanted.waits and stop.wait is None:
            stop.wait = group.create_task(self._wait(pod, stop.until - now, again))
        if not stop.holds(waits=wanted.waits):
            stop.cancel()  # its turn may have come before its time was over
            took_time = stop.hook is not None or stop.wait is not None
            left_s = stop.until - now if took_time else wanted.grace_s
            await self._containers.stop(attempt, grace_s=max(left_s, least_s))

    async def _wait(
        self, pod: desired.DesiredPod, most_s: float, again: Callable[[ids.PodUid], None]
    ) -> None:
        """Await the turn of one, and no longer than that (waitForTurn)."""
        await self._clock.sleep(most_s)
        again(pod.ref.uid)

    def _hook_of(
        self,
        group: asyncio.TaskGroup,
        pod: desired.DesiredPod,
        wanted: actions.StopContainer,
        again: Callable[[ids.PodUid], None],
    ) -> asyncio.Task[None] | None:
        hook = _pre_stop(pod, wanted.attempt)
        if hook is None or wanted.grace_s <= 0:
            return None
        return group.create_task(self._hook(pod, wanted.attempt, hook, wanted.grace_s, again))

    async def _hook(
        self,
        pod: desired.DesiredPod,
        attempt: records.AttemptId,
        hook: hooks.Hook,
        within_s: float,
        again: Callable[[ids.PodUid], None],
    ) -> None:
        try:
            why = await self._caller.call(pod, attempt, hook, within_s=within_s)
        except Exception:  # a bug here must not keep the container running
            log.exception("Pod %s: a preStop hook", pod.ref)
            why = "wasm-node failed"
        if why:
            log.info("Pod %s, container %s: preStop: %s", pod.ref, attempt.container, why)
            self._events.emit(pod.ref, hooking.failed("PreStop", attempt))
        again(pod.ref.uid)

    def _tell(self, pod: desired.DesiredPod, attempt: records.AttemptId, why: str) -> None:
        told = self._told.setdefault(pod.ref.uid, set())
        if attempt not in told:
            told.add(attempt)
            self._events.emit(pod.ref, actions.Event("Killing", why, container=attempt.container))

    def _look(self, uid: ids.PodUid) -> None:
        """Tell of what the runtime stops, and let go of what has ended."""
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        running = {each.id: each for each in (seen.running if seen else ())}
        for attempt, each in running.items():
            if each.shutdown and wanted is not None:
                self._tell(wanted, attempt, planning.stopping(attempt.container))
        if uid in self._told:
            self._told[uid] &= running.keys()
            if not self._told[uid]:
                del self._told[uid]
        self._let_go(uid, running.keys())

    def _let_go(self, uid: ids.PodUid, running: Collection[records.AttemptId]) -> None:
        if uid not in self._stops:
            return
        for attempt, stop in list(self._stops[uid].items()):
            if attempt not in running:
                stop.cancel()
                del self._stops[uid][attempt]
        if not self._stops[uid]:
            del self._stops[uid]


def _pre_stop(pod: desired.DesiredPod, attempt: records.AttemptId) -> hooks.Hook | None:
    for each in pod.all_containers:  # a manifest that has gone names none
        if each.name == attempt.container:
            return each.lifecycle.pre_stop
    return None
