"""Carrying out hooks of containers: what each kind of them comes to."""

import math

from wasm_node.agent import interfaces
from wasm_node.agent.loops import probe as probing
from wasm_node.agent.model import actions, desired, hooks, probe
from wasm_node.protocol import records

_LONGEST_CALL_S = 600.0


class Caller:
    """Carries out hooks, one at a time for each caller."""

    def __init__(
        self,
        prober: interfaces.Prober,
        commands: interfaces.Commands,
        endpoints: probing.Endpoints,
        clock: interfaces.Clock,
    ) -> None:
        self._prober = prober
        self._commands = commands
        self._endpoints = endpoints
        self._clock = clock

    async def call(
        self,
        pod: desired.DesiredPod,
        attempt: records.AttemptId,
        hook: hooks.Hook,
        *,
        within_s: float = math.inf,
    ) -> str:
        """Carry one out; return why it failed, or nothing."""
        if isinstance(hook, hooks.Sleep):
            await self._clock.sleep(min(hook.seconds, within_s))
            return ""
        if isinstance(hook, probe.Exec):
            outcome = await self._commands.call(hook, attempt, within_s=within_s)
            return "" if isinstance(outcome, probe.Passed) else outcome.why or "it failed"
        at = probe.endpoint(hook, lambda port: self._endpoints(pod, attempt, port))
        if at is None:
            return f'port "{hook.port}" not found'
        outcome = await self._prober.call(hook, at, within_s=min(within_s, _LONGEST_CALL_S))
        return "" if isinstance(outcome, probe.Passed) else outcome.why


def failed(which: str, attempt: records.AttemptId) -> actions.Event:
    """
    Return the event about a `PreStop` or `PostStart` hook that failed.

    NB: the kubelet's words; why it failed may hold what is secret.
    """
    name = attempt.container
    return actions.Event(f"Failed{which}Hook", f"{which}Hook failed", warning=True, container=name)
