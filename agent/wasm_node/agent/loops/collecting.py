"""
Garbage collection: images that no pod uses, and the code compiled of them.

Every five minutes, as a kubelet, by how full the disk is and how long images
were idle; and all that can go, before a pod is evicted for the disk. What goes
is `plan.collecting`. Who uses what is asked at the moment of the choice, in the
same breath, so that no pod comes to an image which is about to go. Before all
pods there are have been seen, everything is used.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import actions, collection, desired, image, observed
from wasm_node.agent.plan import collecting as planning
from wasm_node.agent.stores import pods
from wasm_node.protocol import messages

log = logging.getLogger(__name__)

_PERIOD_S = 300.0
"""ImageGCPeriod."""
_AGAIN_S = 10.0
"""So long nothing more is looked for where there was nothing: a kubelet's
monitoring interval."""


class Collector:
    """
    Removes what nobody uses; `run` works until cancelled.

    `preparing` names images that are in hand and noted with no pod. `disk`
    blocks.
    """

    def __init__(
        self,
        rules: collection.Rules,
        images: interfaces.Images,
        resources: interfaces.Resources,
        disk: Callable[[], messages.Level],
        wanted: pods.DesiredStore,
        seen: pods.ObservedStore,
        preparing: Callable[[], Sequence[str]],
        events: interfaces.Events,
        clock: interfaces.Clock,
    ) -> None:
        self._rules = rules
        self._images = images
        self._resources = resources
        self._disk = disk
        self._wanted = wanted
        self._seen = seen
        self._preparing = preparing
        self._events = events
        self._clock = clock
        self._failing = False
        self._nothing_until = 0.0
        self.collected: dict[str, float] = {planning.AGE: 0, planning.SPACE: 0}
        """How many images were removed, by why."""

    async def run(self) -> None:
        """Collect now and then, until cancelled."""
        await self._wanted.listed.wait()
        await self._seen.listed.wait()
        while True:
            try:
                why = await self.collect()
            except errors.NodeError as error:
                why = str(error)
            except Exception as error:  # a bug here must not cost the node
                log.exception("Collecting images: cannot go on; trying again")
                why = repr(error)
            self._tell(why)
            await self._clock.sleep(_PERIOD_S)

    async def collect(self) -> str:
        """
        Collect as the settings have it; return what was wrong, or nothing.

        Raises:
            Retryable: an image cannot be removed.
        """
        disk = await asyncio.to_thread(self._disk)
        wanted_bytes = planning.to_free(self._rules, disk)
        freed_bytes = await self._remove(wanted_bytes)
        event = planning.too_little(disk, wanted_bytes, freed_bytes)
        if event is None:
            return ""
        self._events.note(event)
        return event.message

    async def clear(self) -> None:
        """
        Remove all that nobody uses: the disk is full (DeleteUnusedImages).

        Raises:
            Retryable: an image cannot be removed.
        """
        now = self._clock.monotonic()
        if not self._has_seen_all or now < self._nothing_until:
            return
        if not await self._remove(planning.EVERYTHING):
            self._nothing_until = now + _AGAIN_S

    @property
    def _has_seen_all(self) -> bool:
        return self._wanted.listed.is_set() and self._seen.listed.is_set()

    async def _remove(self, wanted_bytes: float) -> int:
        """Remove images, to free so much at least, and their code."""
        if not self._has_seen_all:
            return 0
        now = self._clock.now()
        chosen: list[image.Choice] = []

        def choose(images: Sequence[image.Kept]) -> image.Choice:
            by = planning.uses(self._pods(), self._preparing())
            used = planning.roots(images, self._images.names(by.texts), by)
            chosen.append(planning.choose(self._rules, images, used, wanted_bytes, now))
            return chosen[-1]

        done = await self._images.collect(choose, rest_before=now - self._rules.least_age_s)
        for root in done.gone:
            why = chosen[-1].gone[root]
            self.collected[why] += 1
            log.info("Removed image %s, which no pod uses (%s)", root, why)
        if not wanted_bytes and not done.gone:
            return done.freed_bytes
        return done.freed_bytes + await self._prune()

    async def _prune(self) -> int:
        try:
            return await self._resources.prune()
        except (errors.NodeError, TimeoutError) as error:  # the images have gone
            log.warning("Removing compiled code: %s", error)
            return 0

    def _pods(
        self,
    ) -> Iterator[tuple[desired.DesiredPod | None, observed.ObservedPod | None]]:
        """Give all pods, those whose other half is not known yet, too."""
        for uid in {*(each.ref.uid for each in self._wanted), *self._seen}:
            yield self._wanted.get(uid), self._seen.get(uid)

    def _tell(self, why: str) -> None:
        """Tell of failures, but of the first (StartGarbageCollection)."""
        if why:
            log.warning("Collecting images: %s", why)
        if why and self._failing:
            self._events.note(actions.Event("ImageGCFailed", why, warning=True))
        self._failing = bool(why)
