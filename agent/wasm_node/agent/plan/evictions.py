"""
When pods are evicted, which one, and in what words.

The rules are the kubelet's: eviction_manager.go (synchronize, Admit,
localStorageEviction) and helpers.go (thresholdsMet, rankMemoryPressure and its
like, evictionMessage) in pkg/kubelet/eviction. Pure: what is remembered from
one look to the next is a value, and time is an argument.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wasm_node.agent.model import desired, manifest, observed, quantity, storage, thresholds
from wasm_node.agent.plan import order, pods, taints
from wasm_node.protocol import messages

HARD_GRACE_S = 1.0
"""immediateEvictionGracePeriodSeconds."""
_LEAST_WAIT_S = 10.0
"""minTimeout of killPodNow."""
REASON = "Evicted"

VOLUME_LIMIT = "emptydirfs.limit"
POD_LIMIT = "ephemeralpodfs.limit"
CONTAINER_LIMIT = "ephemeralcontainerfs.limit"
SIGNALS = (*thresholds.Signal, VOLUME_LIMIT, POD_LIMIT, CONTAINER_LIMIT)
"""What pods are evicted for: the label of kubelet_evictions."""

_SHORT = manifest.Taint("node.kubernetes.io/memory-pressure", "NoSchedule")

NO_DISK = messages.DiskUse(0, 0)

Levels = Mapping[thresholds.Signal, messages.Level]
"""What is left; a signal that cannot be told now is absent."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """
    What of earlier looks still counts; times are of one clock.

    Attributes:
        since: thresholds that are met, and since when.
        driving: those of them that were met for as long as their grace.
        told: conditions, and when each was last true.
    """

    since: Mapping[thresholds.Threshold, float] = dataclasses.field(default_factory=dict)
    driving: tuple[thresholds.Threshold, ...] = ()
    told: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Use:
    """
    What a container has of what is scarce.

    Attributes:
        memory_bytes: its own.
        tasks: threads of its process.
        disk: its logs and last words; it can write nowhere else of its own.
    """

    memory_bytes: int = 0
    tasks: int = 0
    disk: messages.DiskUse = NO_DISK


@dataclasses.dataclass(frozen=True)
class Candidate:
    """
    A pod that runs.

    Attributes:
        pod: which.
        uses: by container.
        volumes: what they take, by name; None: nobody could say.
    """

    pod: desired.DesiredPod
    uses: Mapping[str, Use]
    volumes: Mapping[str, messages.DiskUse] | None = dataclasses.field(default_factory=dict)

    def used(self, signal: thresholds.Signal) -> int:
        """Return what it has of that."""
        found = list(self.uses.values())
        match signal:
            case thresholds.Signal.MEMORY:
                return sum(each.memory_bytes for each in found)
            case thresholds.Signal.PIDS:
                return sum(each.tasks for each in found)
            case thresholds.Signal.DISK:
                return sum(each.used_bytes for each in self._disks())
            case thresholds.Signal.INODES:
                return sum(each.inodes for each in self._disks())

    def _disks(self) -> Iterator[messages.DiskUse]:
        yield from (each.disk for each in self.uses.values())
        yield from (self.volumes or {}).values()

    @property
    def is_whole(self) -> bool:
        """Whether all that it has on the disk was looked at."""
        return self.volumes is not None and all(each.whole for each in self._disks())

    def over(self, signal: thresholds.Signal) -> int:
        """
        Return how much more it has than it asked for.

        Nobody can ask for inodes or tasks. (A kubelet takes requested bytes
        off inodes.)
        """
        asked = {
            thresholds.Signal.MEMORY: self.pod.asks.memory_bytes,
            thresholds.Signal.DISK: self.pod.asks.storage_bytes,
        }
        return self.used(signal) - asked.get(signal, 0)


def look(rules: thresholds.Rules, before: Memory, levels: Levels, now: float) -> Memory:
    """Return what is to be remembered after having seen these levels."""
    met = [each for each in rules.thresholds if is_met(each, levels)]
    # One for which pods were evicted is over when so much more is there.
    met += [
        each for each in before.driving if each not in met and is_met(each, levels, reclaimed=True)
    ]
    since = {each: before.since.get(each, now) for each in met}
    told = {**before.told, **{each.signal.condition: now for each in met}}
    driving = tuple(each for each in met if now - since[each] >= each.grace_s)
    return Memory(since, driving, told)


def is_met(threshold: thresholds.Threshold, levels: Levels, *, reclaimed: bool = False) -> bool:
    """Say whether less is left than that; `reclaimed`: and than what is due."""
    level = levels.get(threshold.signal)
    if level is None:
        return False
    least = threshold.value.of(level.capacity)
    if reclaimed:
        least += threshold.reclaim.of(level.capacity)
    return level.available < least


def conditions(rules: thresholds.Rules, memory: Memory, now: float) -> frozenset[str]:
    """Return the node's conditions that are true, or were a while ago."""
    # NB: what is met now counts however short the while is.
    now_met = {each.signal.condition for each in memory.since}
    lasting = {name for name, at in memory.told.items() if now - at < rules.transition_s}
    return frozenset(now_met | lasting)


def to_relieve(memory: Memory) -> thresholds.Threshold | None:
    """Return the threshold to evict for: memory before all others."""
    ranked = sorted(memory.driving, key=lambda x: x.signal is not thresholds.Signal.MEMORY)
    return ranked[0] if ranked else None


def ranked(signal: thresholds.Signal, candidates: Iterable[Candidate]) -> list[Candidate]:
    """
    Return the pods in the order in which they go.

    Who uses more than was asked for goes first, then the lower priority, then
    who is further above. For tasks, which nobody can ask for, only priority
    and number count. Of which nobody can say what it uses goes before all.
    """
    is_disk = signal in (thresholds.Signal.DISK, thresholds.Signal.INODES)

    def key(each: Candidate) -> tuple[bool, bool, int, int]:
        over = each.over(signal)
        within = over <= 0 and signal is not thresholds.Signal.PIDS
        known = not is_disk or each.volumes is not None
        return known, within, each.pod.priority, -over

    return sorted(candidates, key=key)


def grace_s(rules: thresholds.Rules, threshold: thresholds.Threshold) -> float:
    """Return how long a pod has to end when it is evicted for this."""
    return HARD_GRACE_S if threshold.hard else max(HARD_GRACE_S, rules.most_pod_grace_s)


def overdue_s(grace_s: float) -> float:
    """Return when one should have ended, from when it was told (killPodNow)."""
    return max(_LEAST_WAIT_S, 1.5 * grace_s)


def message(threshold: thresholds.Threshold, level: messages.Level, going: Candidate) -> str:
    """Say why a pod was evicted (evictionMessage)."""
    resource = threshold.signal.resource
    least = quantity.binary(threshold.value.of(level.capacity))
    available = _shown(threshold.signal, level.available)
    said = [
        f"The node was low on resource: {resource}. ",
        f"Threshold quantity: {least}, available: {available}. ",
    ]
    for container in (*going.pod.containers, *going.pod.init_containers):
        use = going.uses.get(container.name)
        asked = container.resources.requests.get(resource, "0")
        used = _used_by_container(threshold.signal, use) if use else None
        if used is not None and used > quantity.parse(asked):
            said.append(
                f"Container {container.name} was using {quantity.binary(used)}, request is"
                f" {asked}, has larger consumption of {resource}. "
            )
    return "".join(said)


def on_disk(*parts: Mapping[str, messages.DiskUse]) -> dict[str, Use]:
    """Return what containers have on the disk, of all parts together."""
    found: dict[str, list[messages.DiskUse]] = {}
    for part in parts:
        for name, each in part.items():
            found.setdefault(name, []).append(each)
    return {name: Use(disk=_together(disks)) for name, disks in found.items()}


def _together(disks: Sequence[messages.DiskUse]) -> messages.DiskUse:
    return messages.DiskUse(
        sum(each.used_bytes for each in disks),
        sum(each.inodes for each in disks),
        whole=all(each.whole for each in disks),
    )


@dataclasses.dataclass(frozen=True)
class OverLimit:
    """
    A pod has more on the disk than it may.

    Attributes:
        signal: of which limit, for figures.
        message: for people.
    """

    signal: str
    message: str


def over_limit(each: Candidate) -> OverLimit | None:
    """
    Say which limit of its own a pod is over, as a kubelet does; None: none.

    A volume's goes before the sum of all containers', that before the one of a
    container; how full the node is has no part in it.
    """
    limits = each.pod.disk_limits
    for name, limit in limits.volumes.items():
        used = (each.volumes or {}).get(name, NO_DISK)
        if used.used_bytes > limit.size_bytes > 0:
            said = f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
            return OverLimit(VOLUME_LIMIT, said)
    if limits.pod is not None and each.used(thresholds.Signal.DISK) > limits.pod.size_bytes:
        total = f"the total limit of containers {limits.pod}. "
        return OverLimit(POD_LIMIT, f"Pod ephemeral local storage usage exceeds {total}")
    for name, limit in limits.containers.items():
        if each.uses.get(name, Use()).disk.used_bytes > limit.size_bytes > 0:
            said = f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
            return OverLimit(CONTAINER_LIMIT, said)
    return None


def is_limited(wanted: desired.DesiredPod, seen: observed.ObservedPod, now: float) -> bool:
    """
    Say whether a pod may have to go for a limit of its own.

    Critical ones never have to (evictPod). One of which nothing runs has to
    unless it is done: its next attempt would only add to it.
    """
    if wanted.disk_limits == storage.NONE or wanted.is_critical:  # most pods, at once
        return False
    begun = any(each.current for each in seen.containers.values())
    gone = seen.evicted is not None or seen.rejected is not None or wanted.finished
    if gone or not begun:
        return False
    if seen.running:
        return True
    deadline = pods.deadline_at(wanted, seen)
    late = deadline is not None and deadline <= now
    return not (wanted.deleting or late) and order.outcome(wanted, seen) is None


def _used_by_container(signal: thresholds.Signal, use: Use) -> int | None:
    match signal:
        case thresholds.Signal.MEMORY:
            return use.memory_bytes
        case thresholds.Signal.DISK:
            return use.disk.used_bytes
        case _:
            return None


def _shown(signal: thresholds.Signal, amount: int) -> str:
    counted = signal in (thresholds.Signal.INODES, thresholds.Signal.PIDS)
    return quantity.plain(amount) if counted else quantity.binary(amount)


def admit(pod: desired.DesiredPod, pressed: frozenset[str]) -> observed.Rejected | None:
    """Return why a pod may not come while there is pressure; None: it may."""
    if not pressed or pod.is_critical:
        return None
    tolerable = pod.qos_class != "BestEffort" or taints.tolerates(pod.tolerations, _SHORT)
    if pressed == {thresholds.Signal.MEMORY.condition} and tolerable:
        return None
    had = " ".join(sorted(pressed))
    return observed.Rejected(REASON, f"The node had condition: [{had}]. ")


def is_over(wanted: desired.DesiredPod, seen: observed.ObservedPod) -> bool:
    """Say whether nothing of a pod runs, or ever will again."""
    return not seen.running and (wanted.finished or seen.evicted is not None)


def candidates(
    pods: Iterable[tuple[desired.DesiredPod, observed.ObservedPod]],
) -> Sequence[desired.DesiredPod]:
    """Return the pods of which something runs, but those that go already."""
    return [
        wanted
        for wanted, seen in pods
        if seen.evicted is None and not wanted.finished and seen.running
    ]
