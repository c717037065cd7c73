"""
What probes mean: which are due, what their results add up to, what follows.

The rules are the kubelet's (pkg/kubelet/prober: worker.go doProbe,
prober_manager.go UpdatePodStatus; kuberuntime_manager.go computePodActions).
`loops.probe` counts with `Tally` and keeps what came of it in the observed
store as a verdict; `plan.status` and `plan.pods` read that. Until there is a
verdict about an attempt, what an earlier agent has said of it stands: an agent
that restarts makes no pod unready. Counting begins anew with each attempt.
"""

import dataclasses
from typing import assert_never

from wasm_node.agent.model import actions, desired, manifest, observed, probe
from wasm_node.protocol import records

RUNTIME_NAME = "wasmtime"


@dataclasses.dataclass(frozen=True)
class Tally:
    """How often in a row a probe has ended the same way."""

    passing: bool = False
    times: int = 0

    def counted(self, outcome: probe.Outcome) -> "Tally":
        """Return the tally after one more; what is unclear does not count."""
        match outcome:
            case probe.Unclear():
                return self
            case probe.Passed():
                return Tally(passing=True, times=self.times + 1 if self.passing else 1)
            case probe.Failed():
                return Tally(passing=False, times=1 if self.passing else self.times + 1)
            case never:
                assert_never(never)

    def verdict(self, wanted: probe.Probe) -> bool | None:
        """Return what has been shown often enough; None: nothing yet."""
        enough = wanted.success_threshold if self.passing else wanted.failure_threshold
        return self.passing if self.times >= enough else None


def container_id(attempt: records.AttemptId) -> str:
    """Return `wasmtime://UID/NAME/ATTEMPT`, unique for all time."""
    return f"{RUNTIME_NAME}://{attempt}"


def due(
    pod: desired.DesiredPod, wanted: desired.DesiredContainer, seen: observed.ObservedContainer
) -> tuple[probe.Probe, ...]:
    """List the probes of a container that are carried out as things are."""
    if pod.finished or not isinstance(seen.current, observed.Running) or seen.settles:
        return ()
    started = is_started(wanted, seen, pod.status)
    return tuple(each for each in wanted.probes if _is_due(each.kind, pod, seen, started=started))


def _is_due(
    kind: probe.Kind, pod: desired.DesiredPod, seen: observed.ObservedContainer, *, started: bool
) -> bool:
    match kind:
        case probe.Kind.READINESS:  # also while it ends: endpoints depend on it
            return started
        case probe.Kind.STARTUP:
            return not started and kind not in seen.verdicts and not pod.deleting
        case probe.Kind.LIVENESS:
            return started and seen.verdicts.get(kind, True) and not pod.deleting
        case never:
            assert_never(never)


def first_wait(wanted: probe.Probe, running: observed.Running, *, now: float) -> float:
    """Return how many seconds from now a probe of an attempt is due first."""
    return max(0.0, running.started_at + wanted.initial_delay_s - now)


def is_started(
    wanted: desired.DesiredContainer,
    seen: observed.ObservedContainer,
    told: manifest.StatusSeen,
) -> bool:
    """Say whether it runs and has passed what it starts with, if anything."""
    if not isinstance(seen.current, observed.Running) or seen.settles:
        return False
    if not _has(wanted, probe.Kind.STARTUP):
        return True
    if probe.Kind.STARTUP in seen.verdicts:
        return seen.verdicts[probe.Kind.STARTUP]
    said = told.last_said(container_id(seen.current.id))
    return said is not None and bool(said.started)


def is_ready(
    wanted: desired.DesiredContainer,
    seen: observed.ObservedContainer,
    told: manifest.StatusSeen,
) -> bool:
    """Say whether it has started and passes its readiness probe."""
    if not isinstance(seen.current, observed.Running) or not is_started(wanted, seen, told):
        return False
    if not _has(wanted, probe.Kind.READINESS):
        return True
    if probe.Kind.READINESS in seen.verdicts:
        return seen.verdicts[probe.Kind.READINESS]
    said = told.last_said(container_id(seen.current.id))
    return said is not None and said.ready


def unhealthy(
    wanted: desired.DesiredContainer, seen: observed.ObservedContainer
) -> probe.Probe | None:
    """Return the probe for whose failure the newest attempt is ended."""
    for kind in (probe.Kind.LIVENESS, probe.Kind.STARTUP):
        for each in wanted.probes:
            if each.kind is kind and not seen.verdicts.get(kind, True):
                return each
    return None


def judged(
    seen: observed.ObservedContainer,
    attempt: records.AttemptId,
    kind: probe.Kind,
    *,
    passing: bool,
) -> observed.ObservedContainer:
    """Return the container with a verdict, if that attempt is its newest."""
    if seen.current is None or seen.current.id != attempt or seen.verdicts.get(kind) is passing:
        return seen
    return dataclasses.replace(seen, verdicts={**seen.verdicts, kind: passing})


def event(
    wanted: desired.DesiredContainer, tried: probe.Probe, outcome: probe.Outcome
) -> actions.Event | None:
    """Return what a person should read of one result (prober.go probe)."""
    match outcome:
        case probe.Passed(warning=""):
            return None
        case probe.Passed(warning):
            reason, said = "ProbeWarning", f"probe warning: {warning}"
        case probe.Failed(why):
            reason, said = "Unhealthy", f"probe failed: {why}"
        case probe.Unclear(why, state):
            reason = "Unhealthy"
            said = f"probe errored and resulted in {state} state: {why}"
        case never:
            assert_never(never)
    return actions.Event(reason, f"{tried.kind} {said}", warning=True, container=wanted.name)


def _has(wanted: desired.DesiredContainer, kind: probe.Kind) -> bool:
    return any(each.kind is kind for each in wanted.probes)
