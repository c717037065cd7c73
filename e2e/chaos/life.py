"""
What an audit finds of a pod's life: its order, hooks, checks, volume, deadline.

Part of `audit`, and as blind to how the node works. Of two processes the kernel
knows which began first; of the ledger's own words their order counts. Where a
fault may have been the reason, nothing is found: what runs beside a container
ends with the part of the runtime that began it, and a killed worker is stopped
by nobody.
"""

import collections
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from e2e.chaos.findings import CHECK, DEADLINE, HOOK, ORDER, ORPHAN, VOLUME, Finding
from e2e.chaos.recording import Command, Process, Recording, Run, Version

_Story: TypeAlias = Mapping[str, list[Version]]
"""The versions of each pod, oldest first."""

_LATE_S = 1.0
"""What is told to end may be heard of once more for so long."""
_AT_ONCE_S = 0.1
"""Ends that are heard of within this time may have come in any order."""
_LONGEST_COMMAND_S = 15.0
"""A command's time limit, and the time that a dead runtime's next one takes."""
_BACK_S = 10.0
"""A part of the runtime that was killed is there again by then; until it is,
nothing can be run beside a container."""
_LEAST_GRACE_S = 3.0
"""With less of it a hook on a busy machine may be ended before it speaks."""
_NAME_BYTES = 15
_FIRST = "first"
"""The init container that writes to the volume what the others read."""


def findings(found: Recording, story: _Story) -> Iterator[Finding]:
    """List what is wrong."""
    runs: dict[str, list[Run]] = collections.defaultdict(list)
    for run in found.runs:
        runs[run.uid].append(run)
    commands: dict[str, list[Command]] = collections.defaultdict(list)
    for command in found.commands:
        commands[command.uid].append(command)
    killed = frozenset(each.process for each in found.kills)
    silent = killed - {each.process for each in found.runs}
    for uid, versions in story.items():
        pod = _Pod(found, versions, runs[uid], commands[uid], killed, silent)
        yield from pod.order()
        yield from pod.beside()
        yield from pod.stop_hooks()
        yield from pod.ends()
        yield from pod.volume()
        yield from pod.deadline()
    yield from _left_over(found, story)


def of_run(run: Run, commands: Sequence[Command]) -> list[Command]:
    """List the commands that can have been run beside this one."""
    return [each for each in commands if _can_be_beside(each, run)]


def _can_be_beside(command: Command, run: Run) -> bool:
    if (command.uid, command.container) != (run.uid, run.container):
        return False
    if run.process and command.process and command.process.began_ticks < run.process.began_ticks:
        return False
    return run.ended is None or command.born <= run.ended + _LATE_S


class _Pod:
    """One pod: its story, and what ran of it."""

    def __init__(
        self,
        found: Recording,
        versions: Sequence[Version],
        runs: Sequence[Run],
        commands: Sequence[Command],
        killed: frozenset[Process],
        silent: frozenset[Process],
    ) -> None:
        self._found = found
        self._versions = versions
        self._last = versions[-1]
        self._runs = runs
        self._commands = commands
        self._killed = killed
        self._silent = {each.name for each in silent}
        """Names of what was killed before it could speak."""
        self._forced = self._last.uid in found.forced
        self._deleted = next((each for each in versions if each.deleting), None)

    def order(self) -> Iterator[Finding]:
        """
        Find what began before the init containers in front of it were done.

        They do their work again under each runtime, but in pods that restart
        nothing. A sidecar's is to begin, and to pass its startup check.
        """
        deaths = () if self._last.restart == "Never" else self._found.deaths
        for since, until in itertools.pairwise((0.0, *deaths, math.inf)):
            runs = [x for x in self._runs if since < x.began < until and x.process]
            for run in {each.container: each for each in reversed(runs)}.values():
                inits = self._last.inits
                place = inits.index(run.container) if run.container in inits else len(inits)
                if left := [x for x in inits[:place] if not self._is_done(x, run, since)]:
                    text = (
                        f"run {run.nonce} has begun after {since:.2f} and before {', '.join(left)}"
                    )
                    yield Finding(ORDER, f"{self._last.name}/{run.container}", text)

    def _is_done(self, init: str, run: Run, since: float) -> bool:
        """Say whether an init container has done its work before a run."""
        before = [x for x in self._runs if x.container == init and since < x.began]
        if init not in self._last.sidecars:
            return any(each.told == 0 and each.began < run.began for each in before)
        if self._last.has(init, "startup"):
            checks = (x for x in self._commands if (x.container, x.what) == (init, "startup"))
            return any(each.told == 0 and since < each.began < run.began for each in checks)
        # NB: by the kernel's word, as it may speak whenever it likes.
        older = any(_is_older(each.process, run.process) for each in before)
        return older or _process_name(init) in self._silent

    def beside(self) -> Iterator[Finding]:
        """Find hooks and checks that ran while their container did not."""
        for command in self._commands:
            if any(_can_be_beside(command, run) for run in self._runs) or self._forced:
                continue
            if self._has_silent_attempt(command.container):
                continue
            text = f"{command.what} {command.nonce} began, and no run of its container was there"
            kind = HOOK if command.what in ("postStart", "preStop") else CHECK
            yield Finding(kind, f"{self._last.name}/{command.container}", text)

    def _has_silent_attempt(self, container: str) -> bool:
        numbers = (
            x.containers[container].attempt for x in self._versions if container in x.containers
        )
        attempts = 1 + max((x for x in numbers if x is not None), default=-1)
        return attempts > sum(1 for x in self._runs if x.container == container)

    def stop_hooks(self) -> Iterator[Finding]:
        """Find what was stopped with its pod without its preStop hook."""
        if self._deleted is None or self._forced or self._grace_s() < _LEAST_GRACE_S:
            return
        for run in self._runs:
            if not self._last.has(run.container, "preStop") or not self._was_stopped(run):
                continue
            ended = run.ended or math.inf
            if any(self._deleted.at - _BACK_S < x < ended for x in self._found.breaks):
                continue
            if not any(x.what == "preStop" for x in of_run(run, self._commands)):
                text = f"run {run.nonce} was stopped, and its preStop hook was not called"
                yield Finding(HOOK, f"{self._last.name}/{run.container}", text)

    def _grace_s(self) -> float:
        # NB: once all has ended the node itself deletes the object, with 0.
        live = (x.grace_s for x in self._versions if x.phase not in ("Failed", "Succeeded"))
        return min(live, default=0.0)

    def _was_stopped(self, run: Run) -> bool:
        """Say whether it ran when the pod was deleted, and ended for that."""
        at = self._deleted.at if self._deleted else math.inf
        if run.ended is None or run.told is not None or run.process in self._killed:
            return False
        return run.began < at < run.ended

    def ends(self) -> Iterator[Finding]:
        """
        Find sidecars that ended before those whose ends they wait for.

        NB: a guest that may finish its work has all the time that there is; so
        at a deletion it and the sidecars end together.
        """
        at = math.inf if self._deleted is None else self._deleted.at
        if self._forced or self._last.deadline_s is not None:
            return
        sidecars = [each for each in self._last.inits if each in self._last.sidecars]
        for place, name in enumerate(sidecars):
            before = set(self._last.containers) - set(self._last.inits) | set(sidecars[place + 1 :])
            mine = [x for x in self._runs if x.container == name and self._was_told_to_end(x)]
            for run in mine:
                for other in self._runs:
                    if other.container not in before or not _outlived(other, run):
                        continue
                    if self._had_time(other, run, at):
                        text = f"run {run.nonce} was stopped before {other.container} had ended"
                        yield Finding(ORDER, f"{self._last.name}/{name}", text)

    def _was_told_to_end(self, run: Run) -> bool:
        return run.told is None and run.process is not None and run.process not in self._killed

    def _had_time(self, other: Run, sidecar: Run, deleted_at: float) -> bool:
        """Say whether a sidecar could have waited for the end of another."""
        ended = sidecar.ended or math.inf
        if ended < deleted_at:  # or the deletion has not been heard of, and it was told nothing
            return other.ended is None or other.told is not None
        is_lasting, grace_s = self._last.restart == "Always", self._grace_s()
        return is_lasting and grace_s >= _LEAST_GRACE_S and ended < deleted_at + grace_s - _LATE_S

    def volume(self) -> Iterator[Finding]:
        """Find what read something else than the first container wrote."""
        for run in self._runs:
            if not run.read or run.container == _FIRST:
                continue
            wrote = [x.nonce for x in self._runs if x.container == _FIRST and x.began < run.began]
            if wrote and run.read != wrote[-1]:
                text = f"run {run.nonce} has read {run.read}, and {_FIRST} wrote {wrote[-1]}"
                yield Finding(VOLUME, f"{self._last.name}/{run.container}", text)

    def deadline(self) -> Iterator[Finding]:
        """Find a pod whose time is over, and which has not failed for that."""
        pod = self._last
        begun = next((each.at for each in self._versions if each.begun), None)
        if pod.deadline_s is None or begun is None or pod.gone or pod.deleting:
            return
        late_s = self._found.at - (begun + pod.deadline_s)
        alive = sorted(x.container for x in self._runs if x.ended is None)
        if late_s < 0:
            return
        if alive:
            text = f"its deadline was {late_s:.1f} s ago, and these run: {', '.join(alive)}"
            yield Finding(DEADLINE, pod.name, text)
        elif (pod.phase, pod.reason) != ("Failed", "DeadlineExceeded"):
            text = f"its deadline was {late_s:.1f} s ago, and it is {pod.phase} {pod.reason}"
            yield Finding(DEADLINE, pod.name, text)


def _left_over(found: Recording, story: _Story) -> Iterator[Finding]:
    """Find processes of hooks and checks beyond their container or time."""
    runs = [each for each in found.runs if each.ended is None]
    gone = all(each[-1].gone for each in story.values())
    by_process = {each.process: each for each in found.commands if each.process}
    for process, age_s in sorted(found.machine.commands.items(), key=lambda each: each[0].pid):
        command, of = by_process.get(process), f"process {process.pid} {process.name}"
        if gone or age_s > _LONGEST_COMMAND_S:
            whose = "of no pod" if gone else "of a container"
            yield Finding(ORPHAN, of, f"a command {whose} has run for {age_s:.0f} s")
        elif command is not None and not any(_can_be_beside(command, run) for run in runs):
            text = f"{command.what} of {command.pod}/{command.container}, which has ended"
            yield Finding(ORPHAN, of, text)


def _is_older(one: Process | None, other: Process | None) -> bool:
    """Say whether a process began before another; of who is unknown, yes."""
    return one is None or other is None or one.began_ticks <= other.began_ticks


def _process_name(container: str) -> str:
    return f"wasm:{container}"[:_NAME_BYTES]


def _outlived(one: Run, other: Run) -> bool:
    """Say whether one ran when the other ended, and went on."""
    if other.ended is None:
        return False
    return one.began < other.ended and (one.ended or math.inf) > other.ended + _AT_ONCE_S
