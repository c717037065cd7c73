"""
Who has to go when a critical pod comes and there is no room for it.

The rules are the kubelet's: preemption/preemption.go (getPodsToPreempt), and
types/pod_update.go for whom. Whatever is missing is made up for by pods of a
lower priority, best-effort ones before burstable and guaranteed ones, by
as few and as small ones as can be found in one go. Two things are added: who
is evicted already counts before all others, as its room comes back anyway; and
nobody goes who, with the others chosen, is not needed.
"""

import collections
import dataclasses
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence

from wasm_node.agent.model import desired, ids, observed
from wasm_node.agent.plan import evictions

REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"
DISRUPTION = "Pod was preempted by Kubelet to accommodate a critical pod."
"""What the condition DisruptionTarget says of it."""
REJECTED = "UnexpectedAdmissionError"

PODS, CPU, MEMORY, STORAGE = "pods", "cpu", "memory", "ephemeral-storage"
SIGNALS = (PODS, CPU, MEMORY, STORAGE)
"""What pods end for: the label of kubelet_preemptions."""

_GOING = "evicted already"
_RANKS = (_GOING, "BestEffort", "Burstable", "Guaranteed")
"""The cheapest first."""

Amounts = Mapping[str, int]
"""By resource: pods, thousandths of a core, bytes; none of them is 0."""


@dataclasses.dataclass(frozen=True)
class Need:
    """
    Pods of which some have to end, as together they have enough.

    Attributes:
        ranks: those that may be made to go, the cheapest first.
        lacking: how much more room there has to be.
    """

    ranks: Sequence[Sequence[desired.DesiredPod]]
    lacking: Amounts


def need(
    pod: desired.DesiredPod,
    others: Iterable[desired.DesiredPod],
    lacking: Amounts,
    going: Container[ids.PodUid],
) -> Need | observed.Rejected:
    """
    Return of whom some have to end, so that there is that much more room.

    Or why the pod cannot come, where all who may be made to go have too little.
    `going`: those of the others that are evicted already.
    """
    ranks = _ranks(pod, others, going)
    unmet = _less(lacking, [each for rank in ranks for each in rank])
    return _rejected(unmet) if unmet else Need(ranks, lacking)


def choose(need: Need) -> Sequence[desired.DesiredPod]:
    """
    Return who has to end; at least one.

    One may be evicted already: then there is nothing to do but to wait. Each
    that is chosen is a look at all that ask differently: of thousands it takes
    seconds, so this is not to be done on an event loop.
    """
    chosen: list[desired.DesiredPod] = []
    for index in reversed(range(len(need.ranks))):
        cheaper = [each for rank in need.ranks[:index] for each in rank]
        chosen += _nearest(need.ranks[index], _less(need.lacking, cheaper + chosen))
    return tuple(reversed(chosen))


def wait_s(pods: Iterable[desired.DesiredPod]) -> float:
    """Return how long their ends are waited for at most (killPodNow)."""
    return max(evictions.overdue_s(each.grace_s) for each in pods)


def _ranks(
    pod: desired.DesiredPod,
    others: Iterable[desired.DesiredPod],
    going: Container[ids.PodUid],
) -> list[list[desired.DesiredPod]]:
    """
    Return those that may be made to go, by rank.

    A critical pod stands above all that are not, and above critical ones of a
    lower priority: that is to say, above all of a lower priority.
    """
    ranks: dict[str, list[desired.DesiredPod]] = {name: [] for name in _RANKS}
    for each in others:
        if each.priority < pod.priority:
            ranks[_GOING if each.ref.uid in going else each.qos_class].append(each)
    return list(ranks.values())


def _nearest(pods: Sequence[desired.DesiredPod], lacking: Amounts) -> list[desired.DesiredPod]:
    """
    Return some of those pods that have as much, which all of them do.

    As getPodsToPreemptByDistance: one after the other, each time the one that
    leaves the least to be found; of equal ones the smaller. Of these, the one
    of the lower priority (a kubelet has no order of its own).
    """
    alike = collections.defaultdict[Hashable, list[desired.DesiredPod]](list)
    for each in reversed(pods):
        alike[each.asks, each.priority].append(each)
    chosen, unmet = list[desired.DesiredPod](), lacking
    while unmet:
        firsts = (each[-1] for each in alike.values() if each)
        best = min(firsts, key=lambda x: (_distance(x, unmet), *_size(x), x.priority))
        chosen.append(alike[best.asks, best.priority].pop())
        unmet = _less(unmet, [best])
    return _needed(chosen, lacking)


def _needed(chosen: Sequence[desired.DesiredPod], lacking: Amounts) -> list[desired.DesiredPod]:
    """Leave out whom those that were chosen later make superfluous."""
    spare = {name: sum(_asked(x, name) for x in chosen) - much for name, much in lacking.items()}
    needed = []
    for each in chosen:
        asked = {name: _asked(each, name) for name in spare}
        if all(asked[name] <= spare[name] for name in spare):
            spare = {name: spare[name] - asked[name] for name in spare}
        else:
            needed.append(each)
    return needed


def _distance(pod: desired.DesiredPod, lacking: Amounts) -> float:
    """Return how much of it a pod lacks, each resource weighing the same."""
    shares = ((much - _asked(pod, name)) / much for name, much in lacking.items())
    return sum(max(0.0, each) ** 2 for each in shares)


def _less(lacking: Amounts, pods: Iterable[desired.DesiredPod]) -> Amounts:
    """Return what is still lacking once those pods have gone."""
    gone = list(pods)
    left = {name: much - sum(_asked(x, name) for x in gone) for name, much in lacking.items()}
    return {name: much for name, much in left.items() if much > 0}


def _asked(pod: desired.DesiredPod, resource: str) -> int:
    asks = pod.asks
    return {
        PODS: 1,
        CPU: asks.cpu_millis,
        MEMORY: asks.memory_bytes,
        STORAGE: asks.storage_bytes,
    }[resource]


def _size(pod: desired.DesiredPod) -> tuple[int, int]:
    """As smallerResourceRequest."""
    return pod.asks.memory_bytes, pod.asks.cpu_millis


def _rejected(unmet: Amounts) -> observed.Rejected:
    missing = "".join(f"(res: {name}, q: {much}), " for name, much in unmet.items())
    return observed.Rejected(
        REJECTED,
        "Unexpected error while attempting to recover from admission failure: preemption: error"
        " finding a set of pods to preempt: no set of running pods found to reclaim resources:"
        f" [{missing}]",
    )
