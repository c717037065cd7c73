"""
Eviction: looks at what is left, tells the node's conditions, ends pods.

All decisions are `plan.evictions`. One pod goes at a time, and the next look
that may cost another comes when it has ended, or half a minute later. Before a
pod goes for the disk, what nobody needs is removed from there: volumes and logs
of pods that are over, logs of attempts that others have followed, images and
compiled code that no pod uses (reclaimNodeLevelResources).

It looks ten times as often as a kubelet, since guests share their memory with
what runs them, and the kernel's own way out of a shortage asks nobody.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence

from wasm_node.agent import errors, interfaces
from wasm_node.agent.loops import collecting, expelling, weighing
from wasm_node.agent.model import actions, desired, ids, observed, thresholds
from wasm_node.agent.model import collection as collection_model
from wasm_node.agent.plan import evictions as planning
from wasm_node.agent.stores import pods
from wasm_node.protocol import messages

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_CLEANUP_S = 30.0
"""podCleanupTimeout."""
_TELL_S = 10.0
"""evictionMonitoringPeriod."""
_PARALLEL = 4
_ON_DISK = (thresholds.Signal.DISK, thresholds.Signal.INODES)


@dataclasses.dataclass(frozen=True)
class Sources:
    """
    Where the figures come from, and what may go before a pod does.

    Attributes:
        rules: when there is pressure.
        resources: of the runtime.
        disk: bytes, then inodes; blocks.
        images: what lies on it.
        collection: when images go.
    """

    rules: thresholds.Rules
    resources: interfaces.Resources
    disk: Callable[[], tuple[messages.Level, messages.Level]]
    images: interfaces.Images
    collection: collection_model.Rules = dataclasses.field(default_factory=collection_model.Rules)


class Evicting:
    """Relieves the node of pressure; `run` works until cancelled."""

    def __init__(
        self,
        sources: Sources,
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        expeller: expelling.Expeller,
        logs: interfaces.LogStore,
        collector: collecting.Collector,
        events: interfaces.Events,
        clock: interfaces.Clock,
    ) -> None:
        self._collector = collector
        self._rules = sources.rules
        self._resources = sources.resources
        self._disk = sources.disk
        self._wanted = wanted
        self._seen = seen
        self._expeller = expeller
        self._logs = logs
        self._events = events
        self._clock = clock
        self._memory = planning.Memory()
        self._going: set[ids.PodUid] = set()
        self._going_until = 0.0
        self._due: dict[ids.PodUid, float] = {}
        """When each that was told to go should have ended."""
        self._cleared: set[ids.PodUid] = set()
        self._said = ""
        self._attempted = ("", 0.0)
        self._listeners: list[Callable[[], None]] = []
        self.conditions: frozenset[str] | None = None
        """The node's conditions that are true; None: nobody has looked yet."""

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever `conditions` changes."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Look, and act, until cancelled."""
        await self._seen.listed.wait()
        while True:
            try:
                await self.look()
            except errors.NodeError as error:
                log.warning("Eviction: %s", error)
            except Exception:  # a bug here must not cost the node
                log.exception("Eviction: cannot go on; trying again")
            await self._clock.sleep(_LOOK_S)

    async def look(self) -> None:
        """
        Look once, and relieve what has to be relieved.

        Raises:
            NodeError: the runtime cannot tell who uses what.
        """
        await self._expeller.keep_rest()
        self._tell_overdue()
        levels = await self._levels()
        now = self._clock.monotonic()
        self._memory = planning.look(self._rules, self._memory, levels, now)
        self._tell(planning.conditions(self._rules, self._memory, now))
        threshold = planning.to_relieve(self._memory)
        if threshold is None:
            self._say("")
        elif not self._is_going(now):
            await self._relieve(threshold, levels)

    async def _levels(self) -> planning.Levels:
        disk, inodes = await asyncio.to_thread(self._disk)
        found = {thresholds.Signal.DISK: disk}
        if inodes.capacity:  # some file systems have no number of them
            found[thresholds.Signal.INODES] = inodes
        try:
            memory, tasks = await self._resources.left()
        except errors.Retryable as error:  # whether it is there is told elsewhere
            log.debug("Eviction: %s", error)
            return found
        return {**found, thresholds.Signal.MEMORY: memory, thresholds.Signal.PIDS: tasks}

    def _tell(self, conditions: frozenset[str]) -> None:
        if conditions != self.conditions:
            log.info("The node's pressure: %s", ", ".join(sorted(conditions)) or "none")
            self.conditions = conditions
            for listener in self._listeners:
                listener()

    def _say(self, what: str) -> None:
        """Log what is new."""
        if what and what != self._said:
            log.warning("Eviction: %s", what)
        self._said = what

    def await_end(self, uid: ids.PodUid) -> None:
        """Evict none for pressure until that one has gone, or for a while."""
        self._going.add(uid)
        now = self._clock.monotonic()
        self._going_until = now + _CLEANUP_S
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted and seen and seen.evicted:
            grace_s = min(wanted.grace_s, seen.evicted.grace_s)
            self._due[uid] = now + planning.overdue_s(grace_s)

    def _tell_overdue(self) -> None:
        now = self._clock.monotonic()
        for uid, at in tuple(self._due.items()):
            wanted = self._wanted.get(uid)
            if wanted is None or self._is_over(uid):
                del self._due[uid]
            elif now >= at:
                del self._due[uid]
                self._expeller.overdue(wanted.ref)

    def _is_going(self, now: float) -> bool:
        """Say whether what was evicted last still needs time."""
        self._going = {uid for uid in self._going if not self._is_over(uid)}
        return bool(self._going) and now < self._going_until

    def _is_over(self, uid: ids.PodUid) -> bool:
        seen, wanted = self._seen.get(uid), self._wanted.get(uid)
        return seen is None or wanted is None or planning.is_over(wanted, seen)

    async def _relieve(self, threshold: thresholds.Threshold, levels: planning.Levels) -> None:
        signal = threshold.signal
        self._attempt(signal.resource)
        if signal in _ON_DISK:
            await self._reclaim()
            levels = await self._levels()
            if not planning.is_met(threshold, levels, reclaimed=True):
                self._say(f"enough {signal.resource} without evicting a pod")
                return
        found = planning.candidates(self._known())
        for each in planning.ranked(signal, await self._weighed(signal, found)):
            if not each.pod.is_critical:
                await self._evict(threshold, levels[signal], each)
                return
        self._say(f"low on {signal.resource}, and no pod that could be evicted")

    def _known(self) -> list[tuple[desired.DesiredPod, observed.ObservedPod]]:
        pairs = ((wanted, self._seen.get(wanted.ref.uid)) for wanted in self._wanted)
        return [(wanted, seen) for wanted, seen in pairs if seen and not seen.forgotten]

    def _runs(self, uid: ids.PodUid) -> bool:
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        return bool(wanted and seen and planning.candidates([(wanted, seen)]))

    def _attempt(self, resource: str) -> None:
        """Tell what is attempted, as often as a kubelet would."""
        now = self._clock.monotonic()
        before, at = self._attempted
        if resource != before or now - at >= _TELL_S:
            self._attempted = resource, now
            said = f"Attempting to reclaim {resource}"
            self._events.note(actions.Event("EvictionThresholdMet", said, warning=True))

    async def _reclaim(self) -> None:
        """Remove from the disk what no pod needs."""
        known = self._known()
        await self._clear(known)
        await asyncio.to_thread(self._prune_logs, known)
        try:
            await self._collector.clear()
        except errors.NodeError as error:
            log.warning("Eviction: %s", error)

    def _prune_logs(self, known: Sequence[tuple[desired.DesiredPod, observed.ObservedPod]]) -> None:
        """Remove logs of attempts that others have followed."""
        for wanted, seen in known:
            for name, each in seen.containers.items():
                if each.current is not None and each.current.id.attempt:
                    self._logs.prune(wanted.ref, name, each.current.id.attempt)

    async def _clear(
        self, known: Sequence[tuple[desired.DesiredPod, observed.ObservedPod]]
    ) -> None:
        """Remove volumes and logs of pods that are over."""
        over = [wanted.ref for wanted, seen in known if planning.is_over(wanted, seen)]
        self._cleared &= {each.uid for each in over}
        for pod in over:
            if pod.uid in self._cleared:
                continue
            try:
                await self._resources.release(pod.uid)
            except errors.NodeError as error:
                log.warning("Eviction: %s", error)
                continue
            await asyncio.to_thread(self._logs.remove, pod)
            self._cleared.add(pod.uid)
            log.info("Pod %s is over: removed its volumes and logs, the disk is full", pod)

    async def _weighed(
        self, signal: thresholds.Signal, found: Sequence[desired.DesiredPod]
    ) -> list[planning.Candidate]:
        if signal in _ON_DISK:
            return await self._on_disk(found)
        uses: dict[str, dict[str, planning.Use]] = {}
        for share in await self._resources.shares():
            use = planning.Use(memory_bytes=share.memory_bytes, tasks=share.tasks)
            uses.setdefault(share.id.pod_uid, {})[share.id.container] = use
        return [planning.Candidate(each, uses.get(each.ref.uid, {})) for each in found]

    async def _on_disk(self, found: Sequence[desired.DesiredPod]) -> list[planning.Candidate]:
        slots = asyncio.Semaphore(_PARALLEL)

        async def weigh(pod: desired.DesiredPod) -> planning.Candidate:
            async with slots:
                return await weighing.on_disk(pod, self._resources, self._logs)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(weigh(each)) for each in found]
        return [each.result() for each in tasks]

    async def _evict(
        self,
        threshold: thresholds.Threshold,
        level: messages.Level,
        going: planning.Candidate,
    ) -> None:
        ref, now = going.pod.ref, self._clock.now()
        if not self._runs(ref.uid):
            return  # it has ended while it was weighed: that may be enough
        why = planning.message(threshold, level, going)
        grace_s = planning.grace_s(self._rules, threshold)
        evicted = observed.Evicted(why, grace_s, now)
        if await self._expeller.expel(ref, evicted, threshold.signal):
            self.await_end(ref.uid)
