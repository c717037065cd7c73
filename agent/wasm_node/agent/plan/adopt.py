"""
Facts into observed containers: pure, so that every order of news can be tested.

News may come late, twice, or as a full list after a gap. The newest attempt
wins; the ending of the one before it is kept for `lastState`.
"""

import collections
import dataclasses
from collections.abc import Iterable

from wasm_node.agent.model import observed
from wasm_node.protocol import records


def apply(seen: observed.ObservedContainer, fact: observed.Fact) -> observed.ObservedContainer:
    """Return the container with one more fact taken in."""
    current = seen.current
    if current is None or fact.id.attempt > current.id.attempt:
        last = current if isinstance(current, observed.Ended) else seen.last
        return dataclasses.replace(seen, current=fact, last=last, verdicts={})
    if fact.id.attempt == current.id.attempt:
        if isinstance(current, observed.Ended):  # an end is final, but it may be of the past
            return dataclasses.replace(seen, current=_aged(current, fact))
        return dataclasses.replace(seen, current=fact)
    if isinstance(fact, observed.Ended) and fact.id.attempt == current.id.attempt - 1:
        return dataclasses.replace(seen, last=fact)
    return seen


def _aged(ended: observed.Ended, fact: observed.Fact) -> observed.Ended:
    is_of_the_past = isinstance(fact, observed.Ended) and fact.earlier
    return dataclasses.replace(ended, earlier=True) if is_of_the_past else ended


def started(seen: observed.ObservedContainer, fact: observed.Running) -> observed.ObservedContainer:
    """Return the container after a start; the next one fetches anew."""
    return dataclasses.replace(apply(seen, fact), image=None, failing=None)


def whole(
    before: observed.ObservedPod, facts: Iterable[observed.Fact], *, now: float
) -> observed.ObservedPod:
    """
    Return the pod after a full list of its facts.

    What we took to be running and the list does not name has ended unseen.
    """
    by_name: dict[str, list[observed.Fact]] = collections.defaultdict(list)
    for fact in facts:
        by_name[fact.id.container].append(fact)
    after = dict(before.containers)
    for name in set(after) | set(by_name):
        container = before.container(name)
        for fact in sorted(by_name[name], key=lambda each: each.id.attempt):
            container = apply(container, fact)
        named = {fact.id for fact in by_name[name]}
        if isinstance(container.current, observed.Running) and container.current.id not in named:
            container = apply(container, _unseen(container.current, now))
        after[name] = container
    return dataclasses.replace(before, containers=after)


def reset(
    before: observed.ObservedPod, attempts: Iterable[records.AttemptId]
) -> observed.ObservedPod:
    """Return the pod as one that begins anew after these attempts."""
    after = dict(before.containers)
    for each in attempts:
        known = before.container(each.container)
        resets = tuple(dict.fromkeys((*known.resets, each.attempt)))
        after[each.container] = dataclasses.replace(known, resets=resets[-2:])
    return dataclasses.replace(before, containers=after)


def _unseen(running: observed.Running, now: float) -> observed.Ended:
    # The kubelet's words for the same: ContainerStatusUnknown, 137.
    record = records.ExitRecord(
        code=137,
        ended_by=records.EndedBy.UNKNOWN,
        reason="ContainerStatusUnknown",
        message="the container could not be located when the runtime was asked what runs",
        started_at_ns=int(running.started_at * 1e9),
        finished_at_ns=int(now * 1e9),
    )
    return observed.Ended(running.id, record, earlier=True)  # else its runtime had it
