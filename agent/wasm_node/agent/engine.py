"""
Pods of any source, run on this host: what a node and `wasm-node run` share.

Builds the stores and loops and wires them to the interfaces it is given. It
knows no API server: `agent.app` (a node) and `agent.laptop` choose what stands
behind the interfaces.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Mapping

from wasm_node.agent import interfaces, statedir
from wasm_node.agent.logs import pods as pod_logs
from wasm_node.agent.loops import (
    accepting,
    admitting,
    collecting,
    denials,
    ending,
    evicting,
    expelling,
    facts,
    fetching,
    hooking,
    limiting,
    presence,
    probe,
    reconcile,
    scraping,
    starting,
    stopping,
    watch,
    write_status,
)
from wasm_node.agent.model import desired, environment, ids, observed, thresholds, traffic
from wasm_node.agent.model import probe as probe_model
from wasm_node.agent.plan import node as node_plan
from wasm_node.agent.plan import restarts
from wasm_node.agent.plan import status as status_plan
from wasm_node.agent.stores import checkpoint, pods
from wasm_node.protocol import layout, records

_LAST_WORDS_S = 5.0
"""So long an agent that ends tries to write what it has seen."""
_LOOK_S = 0.05


@dataclasses.dataclass(frozen=True)
class Outside:
    """The interfaces through which an engine meets the world."""

    source: interfaces.PodSource
    sink: interfaces.StatusSink
    events: interfaces.Events
    puller: interfaces.Puller
    containers: interfaces.Containers
    resources: interfaces.Resources
    logs: interfaces.LogStore
    prober: interfaces.Prober
    commands: interfaces.Commands
    workers: interfaces.HttpWorkers
    clock: interfaces.Clock
    progress: fetching.Progress
    ended: Callable[[ids.PodRef, records.AttemptId], None]
    """Told, perhaps more than once, of every attempt that is over."""
    node: interfaces.OwnNode | None = None
    """None: any pod is taken in."""
    eviction: evicting.Sources | None = None
    """None: pods of this host are not evicted."""


@dataclasses.dataclass(frozen=True)
class Place:
    """
    Where pods are run.

    Attributes:
        node_name: of the Node.
        host_ip: of its host.
        max_pods: 0: as many as there is room for.
        most_backoff_s: the longest that a container's restart waits.
    """

    node_name: str
    host_ip: str
    max_pods: int = 0
    most_backoff_s: float = restarts.MAX_BACKOFF_S


class PodEngine:
    """Runs the pods of a source on this host; `run` works until cancelled."""

    def __init__(self, outside: Outside, directory: statedir.StateDir, place: Place) -> None:
        self._outside = outside
        self._wanted = pods.DesiredStore()
        self._seen = pods.ObservedStore()
        self._kept = checkpoint.Checkpoints(directory.pods)
        self.runtime = presence.Presence(outside.clock)
        """Whether the runtime is there."""
        self._place = place
        sources = outside.eviction
        self._rules = sources.rules if sources else thresholds.OFF
        fetcher = fetching.Fetcher(
            outside.puller, outside.containers, outside.events, outside.clock, outside.progress
        )
        expeller = expelling.Expeller(self._wanted, self._seen, self._kept, outside.events)
        self._expeller = expeller
        self._collector: collecting.Collector | None = None
        self._evicting: evicting.Evicting | None = None
        if sources is not None:
            self._collector = self._collecting(sources, fetcher)
            self._evicting = evicting.Evicting(
                sources,
                self._wanted,
                self._seen,
                expeller,
                outside.logs,
                self._collector,
                outside.events,
                outside.clock,
            )
        self._limiting = limiting.Limiting(
            outside.resources,
            self._wanted,
            self._seen,
            expeller,
            outside.logs,
            outside.clock,
            self._evicting.await_end if self._evicting else lambda _: None,
        )
        self._run = directory.run
        self._statuses = write_status.StatusWriter(
            self._wanted, self._seen, outside.sink, self._addresses, outside.clock
        )
        ender = ending.Ender(
            self._statuses,
            outside.sink,
            outside.containers,
            outside.logs,
            directory,
            self._wanted,
            self._seen,
        )
        caller = hooking.Caller(outside.prober, outside.commands, self._endpoint, outside.clock)
        hands = reconcile.Hands(
            fetcher,
            starting.Starter(
                outside.source,
                outside.puller,
                outside.containers,
                outside.logs,
                directory,
                self._placed,
                self._rules,
            ),
            ender,
            stopping.Stopper(
                self._wanted,
                self._seen,
                outside.containers,
                caller,
                outside.events,
                outside.clock,
            ),
            caller,
            admitting.Admitter(
                self._wanted,
                self._seen,
                outside.node,
                self._allocatable,
                lambda: self._pressures or frozenset(),
                lambda: self.runtime.is_ending and self.runtime.is_here,
                expeller,
                outside.clock,
            ),
            outside.events,
        )
        self._reconciler = reconcile.Reconciler(
            self._wanted,
            self._seen,
            self._kept,
            hands,
            self.runtime,
            place.most_backoff_s,
            outside.clock,
        )
        self._probing = probe.Probing(
            self._wanted,
            self._seen,
            outside.prober,
            outside.commands,
            self._endpoint,
            outside.events,
            outside.clock,
        )
        self._accepting = accepting.Accepting(self._wanted, self._seen, outside.workers)
        self._seen.listen(self._tell_ends)
        denials.Denials(self._wanted, self._seen, outside.events)

    def _collecting(
        self, sources: evicting.Sources, fetcher: fetching.Fetcher
    ) -> collecting.Collector:
        return collecting.Collector(
            sources.collection,
            sources.images,
            sources.resources,
            lambda: sources.disk()[0],
            self._wanted,
            self._seen,
            lambda: fetcher.preparing,
            self._outside.events,
            self._outside.clock,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                facts.follow(
                    self._outside.containers,
                    self._seen,
                    self._kept,
                    self._outside.clock,
                    self.runtime,
                )
            )
            group.create_task(self.runtime.run())
            group.create_task(watch.watch(self._outside.source, self._wanted))
            group.create_task(self._reconciler.run())
            group.create_task(self._statuses.run())
            group.create_task(self._probing.run())
            group.create_task(self._accepting.run())
            group.create_task(self._limiting.run())
            if self._evicting is not None:
                group.create_task(self._evicting.run())
            if self._collector is not None:
                group.create_task(self._collector.run())

    async def listed(self) -> None:
        """Return once all pods of this node are known."""
        await self._wanted.listed.wait()

    async def see_off(self) -> None:
        """
        Return once an agent that is told to end may go: after a second.

        Where the runtime ends, too, hooks are called and ends are told before;
        that is over with the runtime, but for the last words' way.
        """
        if await self.runtime.wait_gone():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    while self._statuses.behind or self._outside.events.busy:
                        await self._outside.clock.sleep(_LOOK_S)

    @property
    def busy(self) -> bool:
        """Whether statuses wait to be written or are on their way."""
        return self._statuses.busy

    @property
    def health(self) -> node_plan.Health | None:
        """Whether pods can run; None: it is too early to tell."""
        problem = self.runtime.problem
        if problem is None or (self._pressures is None and not problem):
            return None
        return node_plan.Health(problem, self._pressures)

    def listen_to_health(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever `health` changes."""
        self.runtime.listen(listener)
        if self._evicting is not None:
            self._evicting.listen(listener)

    @property
    def _pressures(self) -> frozenset[str] | None:
        return self._evicting.conditions if self._evicting else frozenset()

    def field(self, uid: ids.PodUid, container: str) -> str:
        """Name the list of a pod's spec in which a container stands."""
        wanted = self._wanted.get(uid)
        for name, listed in (
            ("initContainers", wanted.init_containers if wanted else ()),
            ("ephemeralContainers", wanted.ephemeral_containers if wanted else ()),
        ):
            if any(each.name == container for each in listed):
                return name
        return "containers"

    def pods(self) -> Mapping[str, float]:
        """Return how many pods are bound to this node, by no label."""
        return {"": sum(1 for _ in self._wanted)}

    def containers(self) -> Mapping[str, float]:
        """Return how many containers there are, by state."""
        found = dict.fromkeys(("waiting", "running", "terminated"), 0.0)
        for pod in self._wanted:
            seen = self._seen.get(pod.ref.uid)
            for each in pod.all_containers:
                match seen.container(each.name).current if seen else None:
                    case observed.Running():
                        found["running"] += 1
                    case observed.Ended():
                        found["terminated"] += 1
                    case _:
                        found["waiting"] += 1
        return found

    def collected(self) -> Mapping[str, float]:
        """Return how many images were removed as unused, by why."""
        return self._collector.collected if self._collector else {}

    def evictions(self) -> Mapping[str, float]:
        """Return how many pods were evicted, by what for."""
        return self._expeller.evictions

    def preemptions(self) -> Mapping[str, float]:
        """Return how many pods made room for critical ones, by what lacked."""
        return self._expeller.preemptions

    async def traffic(self) -> list[traffic.Told]:
        """Return what workers of containers that serve HTTP have counted."""
        return await scraping.scrape(self._wanted, self._seen, self._outside.workers)

    def look_up(self, namespace: str, name: str) -> pod_logs.Reported | None:
        """Return a pod of this node with its containers' statuses as of now."""
        for wanted in self._wanted:
            if wanted.ref.namespace == namespace and wanted.ref.name == name:
                seen = self._seen.get(wanted.ref.uid)
                now = self._outside.clock.now()
                seen = seen or observed.ObservedPod(started_at=now)
                made = status_plan.status(wanted, seen, self._addresses(), previous=(), now=now)
                told = (
                    *made.init_container_statuses,
                    *made.container_statuses,
                    *made.ephemeral_container_statuses,
                )
                return pod_logs.Reported(wanted.ref, told)
        return None

    def _endpoint(
        self, pod: desired.DesiredPod, attempt: records.AttemptId, port: int
    ) -> probe_model.Endpoint:
        # Pods of one owner share a port: only by its socket it is this one.
        own = port in pod.container(attempt.container).tcp_ports()
        socket = layout.guest_socket(self._run, attempt) if own else None
        return probe_model.Endpoint(self._addresses().pod_ip, port, socket)

    def _allocatable(self) -> environment.Allocatable | None:
        room = self._outside.containers.room()
        return node_plan.allocatable(self._place.max_pods, room, self._rules) if room else None

    def _placed(self) -> environment.Place:
        # Guests' ports are the runtime's, and so is the IP that all pods share.
        room = self._outside.containers.room()
        name, host_ip = self._place.node_name, self._place.host_ip
        return environment.Place(name, host_ip, (room.address if room else "") or host_ip)

    def _addresses(self) -> status_plan.Addresses:
        place = self._placed()
        return status_plan.Addresses(place.host_ip, place.pod_ip)

    def is_running(self, attempt: records.AttemptId) -> bool:
        """Say whether this very attempt has not ended yet."""
        seen = self._seen.get(ids.PodUid(attempt.pod_uid))
        current = seen.container(attempt.container).current if seen else None
        return isinstance(current, observed.Running) and current.id == attempt

    def _tell_ends(self, uid: ids.PodUid) -> None:
        wanted, seen = self._wanted.get(uid), self._seen.get(uid)
        if wanted is None or seen is None:
            return
        for each in seen.containers.values():
            if isinstance(each.current, observed.Ended):
                self._outside.ended(wanted.ref, each.current.id)
