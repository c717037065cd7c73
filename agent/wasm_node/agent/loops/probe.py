"""
One scheduler for the probes of all containers.

What is due stands in a heap, so that a probe which waits costs nothing and a
pod without probes is never looked at. `plan.probes` says which probes apply to
a container and what their results add up to; here they are carried out, so
many at a time, and only a verdict that changes goes to the observed store:
statuses and restarts follow from that.
"""

import asyncio
import dataclasses
import heapq
import itertools
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from wasm_node.agent import interfaces
from wasm_node.agent.model import desired, ids, observed, probe
from wasm_node.agent.plan import order, probes
from wasm_node.agent.stores import pods
from wasm_node.protocol import records

log = logging.getLogger(__name__)

_PARALLEL = 256
"""What hangs until its timeout keeps a place: enough of them for many pods.
Commands have none: `Commands` sees to it how many there are."""
_GRAIN_S = 0.1
"""What is due within this time begins together: a third less CPU for each."""
_IDLE_S = 3600.0

Endpoints: TypeAlias = Callable[[desired.DesiredPod, records.AttemptId, int], probe.Endpoint]
"""Where a port of a running attempt is reached."""

_Name: TypeAlias = tuple[str, probe.Kind]
"""A container, and which of its probes."""


@dataclasses.dataclass(eq=False)
class _Planned:
    """One probe of an attempt, until `over`; due by the monotonic clock."""

    uid: ids.PodUid
    attempt: records.AttemptId
    probe: probe.Probe
    due: float
    tally: probes.Tally = dataclasses.field(default_factory=probes.Tally)
    over: bool = False


class Probing:
    """Carries out probes; `run` works until cancelled."""

    def __init__(
        self,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        prober: interfaces.Prober,
        commands: interfaces.Commands,
        endpoints: Endpoints,
        events: interfaces.Events,
        clock: interfaces.Clock,
    ) -> None:
        self._wanted = wanted
        self._seen = seen
        self._prober = prober
        self._commands = commands
        self._endpoints = endpoints
        self._events = events
        self._clock = clock
        self._began = clock.now()
        self._planned: dict[ids.PodUid, Mapping[_Name, _Planned]] = {}
        self._heap: list[tuple[float, int, _Planned]] = []
        self._order = itertools.count()
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._pause: asyncio.Task[None] | None = None
        wanted.listen(self._look)
        seen.listen(self._look)

    def __repr__(self) -> str:
        """Show how many probes there are."""
        return f"<Probing {sum(len(each) for each in self._planned.values())} probes>"

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._until_due()
                for each in self._taken():
                    if isinstance(each.probe.check, probe.Exec):
                        group.create_task(self._carry_out(each))
                    else:
                        await self._slots.acquire()
                        task = group.create_task(self._carry_out(each))
                        task.add_done_callback(lambda _: self._slots.release())

    async def _until_due(self) -> None:
        # NB: cut short by `_push`, for what is due earlier.
        wait_s = self._heap[0][0] - self._clock.monotonic() if self._heap else _IDLE_S
        async with asyncio.TaskGroup() as group:
            self._pause = group.create_task(self._clock.sleep(max(wait_s, _GRAIN_S)))
        self._pause = None

    def _taken(self) -> Iterator[_Planned]:
        """Take from the heap what is due, without what is over by now."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            planned = heapq.heappop(self._heap)[-1]
            if not planned.over:
                yield planned

    def _push(self, planned: _Planned) -> None:
        first = not self._heap or planned.due < self._heap[0][0]
        heapq.heappush(self._heap, (planned.due, next(self._order), planned))
        if first and self._pause is not None:
            self._pause.cancel()

    def _look(self, uid: ids.PodUid) -> None:
        """Have exactly those probes planned that apply to the pod now."""
        before = self._planned.pop(uid, {})
        after: dict[_Name, _Planned] = {}
        for running, each in self._due(uid):
            name = running.id.container, each.kind
            planned = before.get(name)
            if planned is None or planned.attempt != running.id:
                planned = _Planned(uid, running.id, each, self._first_due(each, running))
                self._push(planned)
            after[name] = planned
        for name, planned in before.items():
            if after.get(name) is not planned:
                planned.over = True
        if after:
            self._planned[uid] = after

    def _due(self, uid: ids.PodUid) -> Iterator[tuple[observed.Running, probe.Probe]]:
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None:
            return
        for container, now in order.running(wanted, seen):
            for each in probes.due(wanted, container, seen.container(container.name)):
                yield now, each

    def _first_due(self, wanted: probe.Probe, running: observed.Running) -> float:
        now = self._clock.now()
        wait_s = probes.first_wait(wanted, running, now=now)
        if running.started_at < self._began and now < self._began + wanted.period_s:
            # One of many that this agent has found: not all at once.
            wait_s += wanted.period_s * random.random()  # noqa: S311  # spreads load only
        return self._clock.monotonic() + wait_s

    async def _carry_out(self, planned: _Planned) -> None:
        try:
            outcome = await self._outcome(planned)
        except Exception:  # one probe's trouble, a bug, is not the node's
            log.exception("Cannot carry out a probe of %s", planned.attempt)
            outcome = probe.Unclear("wasm-node failed: its log says why")
        if not planned.over:
            self._take(planned, outcome)
        if not planned.over:
            now = self._clock.monotonic()
            planned.due = max(planned.due + planned.probe.period_s, now)
            self._push(planned)

    async def _outcome(self, planned: _Planned) -> probe.Outcome:
        check = planned.probe.check
        pod = self._wanted.get(planned.uid)
        if pod is None:
            return probe.Unclear("the pod is gone")
        if isinstance(check, probe.Exec):
            return await self._commands.probe(planned.probe, planned.attempt)
        at = probe.endpoint(check, lambda port: self._endpoints(pod, planned.attempt, port))
        if at is None:
            return probe.Unclear(f'port "{check.port}" not found')
        return await self._prober.probe(planned.probe, at)

    def _take(self, planned: _Planned, outcome: probe.Outcome) -> None:
        """Count a result; what it shows goes to the observed store."""
        pod = self._wanted.get(planned.uid)
        if pod is None:
            return
        name, kind = planned.attempt.container, planned.probe.kind
        event = probes.event(pod.container(name), planned.probe, outcome)
        if event is not None:
            self._events.emit(pod.ref, event)
        planned.tally = planned.tally.counted(outcome)
        verdict = planned.tally.verdict(planned.probe)
        if verdict is not None:
            self._seen.change(
                planned.uid,
                name,
                lambda seen: probes.judged(seen, planned.attempt, kind, passing=verdict),
            )
