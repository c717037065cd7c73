"""
Whether a chaos run was survived: a function of what its witnesses recorded.

Each finding is a promise that was broken, with what shows it. Nothing here
knows how the node works; only that an attempt of a container is one run of its
guest, that the API numbers attempts from 0 (containerID, restartCount), and
the rules of restart policies; `life` has those of order, hooks, checks, volumes
and deadlines. Of clocks only the order of one witness' own words is used, as
news of the same thing may be seconds apart; but nothing that a killed runtime
ran is heard of when the next one is started.
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from e2e.chaos import life
from e2e.chaos.findings import CHECK, EXIT, HOOK, LOST, ORPHAN, RESTARTS, TWICE, Finding
from e2e.chaos.recording import Command, Ending, Process, Recording, Run, Version

_KILLED, _STOPPED = 137, 143
_SERVICES = ("wasm-node fork", "wasm-node super")  # as the kernel cuts them
_NAME_BYTES = 15
_Key: TypeAlias = tuple[str, str]
"""Pod uid and container."""
_Story: TypeAlias = Mapping[str, list[Version]]
"""The versions of each pod, oldest first."""


def audit(found: Recording) -> list[Finding]:
    """List all that is wrong with a run, once it has settled; none is well."""
    story: dict[str, list[Version]] = collections.defaultdict(list)
    for each in found.versions:
        story[each.uid].append(each)
    return [
        *_side_by_side(found),
        *_accounts(found, story),
        *_counts(found),
        *_alive(found, story),
        *_workloads(found, story),
        *_machine(found, story),
        *life.findings(found, story),
    ]


def _side_by_side(found: Recording) -> Iterator[Finding]:
    for run in found.runs:
        if run.beside:
            text = f"run {run.nonce} began while {', '.join(run.beside)} was alive"
            yield Finding(TWICE, f"{run.pod}/{run.container}", text)
    for nonce, count in collections.Counter(each.nonce for each in found.runs).items():
        if count > 1:
            yield Finding(TWICE, nonce, f"{count} runs have this number for their own")


def _accounts(found: Recording, story: _Story) -> Iterator[Finding]:
    """Lay each container's runs beside the attempts that the API has of it."""
    killed = {each.process for each in found.kills}
    quiet = collections.Counter(each.name for each in _unannounced(found, killed))
    silent: dict[str, list[str]] = collections.defaultdict(list)
    runs: dict[_Key, list[Run]] = collections.defaultdict(list)
    for run in found.runs:
        runs[run.uid, run.container].append(run)
    commands: dict[_Key, list[Command]] = collections.defaultdict(list)
    for command in found.commands:
        commands[command.uid, command.container].append(command)
    for key in sorted(
        {*runs, *((uid, name) for uid in story for name in story[uid][-1].containers)}
    ):
        uid, name = key
        if uid not in story:
            yield Finding(ORPHAN, f"{uid}/{name}", "it ran, and no such pod was ever there")
            continue
        case = _Case(
            name,
            story[uid],
            runs[key],
            commands[key],
            killed,
            forced=uid in found.forced,
            begins_anew=bool(found.deaths),
        )
        yield from case.findings()
        silent[f"wasm:{name}"[:_NAME_BYTES]] += case.silent
    for process, attempts in silent.items():
        if (left := len(attempts) - quiet[process]) > 0:
            text = f"no guest announced {left} of these, and nobody killed them: {attempts}"
            yield Finding(LOST, process, text)


def _unannounced(found: Recording, killed: set[Process]) -> set[Process]:
    """Return what was killed before its guest could speak."""
    return killed - {each.process for each in found.runs if each.process}


class _Case:
    """One container: attempts of the API's on one side, runs on the other."""

    def __init__(
        self,
        name: str,
        story: Sequence[Version],
        runs: Sequence[Run],
        commands: Sequence[Command],
        killed: set[Process],
        *,
        forced: bool,
        begins_anew: bool,
    ) -> None:
        self._name = name
        self._last = story[-1]
        self._of = f"{self._last.name}/{name}"
        self._runs = runs
        self._commands = commands
        self._killed = killed
        self._forced = forced
        self._begins_anew = begins_anew and name in self._last.inits
        self._may_be_stopped = (
            any(each.deleting for each in story)
            or name in self._last.sidecars
            or self._last.deadline_s is not None
        )
        self._ready: set[int] = set()
        self._started: set[int] = set()
        self._endings: dict[int, set[Ending]] = collections.defaultdict(set)
        attempts = [-1]
        for each in story:
            told = each.containers.get(name)
            if told is None:
                continue
            if told.attempt is not None:
                attempts.append(told.attempt)
                self._ready |= {told.attempt} if told.ready else set()
                self._started |= {told.attempt} if told.started else set()
            for ending in (told.ending, told.last):
                if ending is not None:
                    self._endings[ending.attempt].add(ending)
        self._attempts = 1 + max(attempts)
        self.silent: list[str] = []
        """Attempts that only a kill of a process explains that nobody knows."""

    def findings(self) -> Iterator[Finding]:
        for attempt, endings in self._endings.items():
            if len(endings) > 1:
                text = f"attempt {attempt} has two endings: {sorted(endings, key=str)}"
                yield Finding(EXIT, self._of, text)
        yield from self._policy()
        if len(self._runs) > self._attempts and not self._forced:
            text = f"{len(self._runs)} runs of {self._attempts} attempts"
            yield Finding(TWICE, self._of, text)
            return
        silent = set(range(self._attempts))
        for run, attempt in self._pairs():
            if not self._was_quick(run):
                silent.discard(attempt)
            if wrong := self._mismatched(run, attempt):
                kind, text = wrong
                text = f"run {run.nonce}, attempt {attempt}: {text}"
                yield Finding(kind, self._of, text)
            if len(self._runs) == self._attempts:  # else it may be of another attempt
                yield from self._unasked(run, attempt)
        if not self._forced:
            self.silent = [
                f"attempt {each} of {self._of} {self._ending(each)}"
                for each in sorted(silent)
                if not self._was_stopped(each)
            ]

    def _pairs(self) -> Iterator[tuple[Run, int]]:
        """
        Yield each run with its attempt.

        Where attempts have no run, a run is the first that it can be; that is
        right, as it leaves the most to those after it.
        """
        spare = self._attempts - len(self._runs)
        attempt = 0
        for run in self._runs:
            first = attempt
            while spare > 0 and self._mismatched(run, attempt):
                attempt, spare = attempt + 1, spare - 1
            if self._mismatched(run, attempt):
                attempt = first
            yield run, attempt
            attempt += 1

    def _unasked(self, run: Run, attempt: int) -> Iterator[Finding]:
        """Find what was said of an attempt before that was known."""
        done = {x.what for x in life.of_run(run, self._commands) if x.told == 0}
        for what, told, kind in (
            ("postStart", self._ready, HOOK),
            ("startup", self._started, CHECK),
        ):
            if attempt in told and self._last.has(self._name, what) and what not in done:
                word = "ready" if told is self._ready else "started"
                text = f"run {run.nonce}, attempt {attempt}: it was {word}, without its {what}"
                yield Finding(kind, self._of, text)

    def _policy(self) -> Iterator[Finding]:
        policy = self._last.policy(self._name)
        for attempt, endings in self._endings.items():
            code = next(iter(endings)).code
            again = attempt + 1 < self._attempts
            over = policy == "OnFailure" and code == 0 and not self._begins_anew
            if again and (policy == "Never" or over):
                text = (
                    f"attempt {attempt} ended with {code}, was followed by another under {policy}"
                )
                yield Finding(RESTARTS, self._of, text)

    def _ending(self, attempt: int) -> Ending | None:
        return next(iter(self._endings.get(attempt, ())), None)

    def _was_stopped(self, attempt: int) -> bool:
        """Say whether it was told to end, perhaps before it could speak."""
        ending, newest = self._ending(attempt), attempt == self._attempts - 1
        lasting = self._last.policy(self._name) == "Always"  # it may serve: 0 is its code then
        codes = {_STOPPED, 0} if lasting else {_STOPPED}
        return bool(newest and self._may_be_stopped and ending and ending.code in codes)

    @staticmethod
    def _was_quick(run: Run) -> bool:
        """Say whether it ended as soon as it had spoken, untold."""
        return run.process is None and run.told is None and run.ended is not None

    def _mismatched(self, run: Run, attempt: int) -> tuple[str, str] | None:
        ending, newest = self._ending(attempt), attempt == self._attempts - 1
        if run.ended is None:
            if ending is not None:
                return ORPHAN, f"it lives, and the API has its end: {ending}"
            return None if newest else (ORPHAN, "it lives, and the API has a later attempt")
        if ending is None:
            if newest and not self._forced:
                return LOST, "it has ended, and the API does not know"
            return None
        allowed = self._codes(run, attempt)
        if not allowed:
            return LOST, f"it ended, though nobody told, stopped or killed it; the API has {ending}"
        if ending.code not in allowed:
            return EXIT, f"the API has {ending}, and it is {' or '.join(map(str, sorted(allowed)))}"
        return None

    def _codes(self, run: Run, attempt: int) -> set[int]:
        codes = set()
        newest = attempt == self._attempts - 1
        if run.told is not None:
            codes.add(run.told)
        if run.process in self._killed or self._was_quick(run):
            codes.add(_KILLED)
        if newest and self._may_be_stopped:
            codes |= {_STOPPED, 0} if run.serves else {_STOPPED}
        if self._has_failed_its_check(run) or self._has_not_settled(attempt):
            codes.add(_STOPPED)
        return codes

    def _has_failed_its_check(self, run: Run) -> bool:
        beside = life.of_run(run, self._commands)
        return any(each.what == "liveness" and each.told != 0 for each in beside)

    def _has_not_settled(self, attempt: int) -> bool:
        """Say whether it may have been ended for its postStart hook."""
        return self._last.has(self._name, "postStart") and attempt not in self._ready


def _counts(found: Recording) -> Iterator[Finding]:
    """Restart counts go up by what has ended, and say what the ids say."""
    before: dict[_Key, int] = {}
    said = set()
    for each in found.versions:
        for name, told in each.containers.items():
            key, of = (each.uid, name), f"{each.name}/{name}"
            wrong = ""
            if told.restarts < before.get(key, 0):
                wrong = f"restartCount went from {before[key]} to {told.restarts}"
            elif told.attempt is not None and told.attempt != told.restarts:
                wrong = f"restartCount is {told.restarts} of attempt {told.attempt}"
            elif told.last and told.ending and told.last.attempt >= told.ending.attempt > 0:
                wrong = (
                    f"lastState is of attempt {told.last.attempt}, state of {told.ending.attempt}"
                )
            elif told.restarts and told.last is None and told.ending is None:
                wrong = f"restartCount is {told.restarts}, and no end is told"
            before[key] = max(before.get(key, 0), told.restarts)
            if wrong and (of, wrong) not in said:  # a later version may say it again
                said.add((of, wrong))
                yield Finding(RESTARTS, of, wrong)


def _alive(found: Recording, story: _Story) -> Iterator[Finding]:
    """Find what runs for no pod, and what is said to run and does not."""
    last = {uid: each[-1] for uid, each in story.items()}
    alive = [each for each in found.runs if each.ended is None]
    by_key = collections.Counter((each.uid, each.container) for each in alive)
    for run in alive:
        pod = last.get(run.uid)
        if pod is not None and pod.gone:
            text = f"its pod is gone, and it lives: {run.process}"
            yield Finding(ORPHAN, f"{run.pod}/{run.container}", text)
    for pod in last.values():
        for name, told in pod.containers.items() if not pod.gone else ():
            count = by_key[pod.uid, name]
            if told.running and count == 0:
                text = "the API says that it runs, and no guest of it lives"
                yield Finding(LOST, f"{pod.name}/{name}", text)
            if count > 1:
                yield Finding(TWICE, f"{pod.name}/{name}", f"{count} guests of it live")


def _workloads(found: Recording, story: _Story) -> Iterator[Finding]:
    """Each has as many running and completed pods as it wants."""
    pods: dict[str, list[list[Version]]] = collections.defaultdict(list)
    for versions in story.values():
        pods[versions[-1].workload].append(versions)
    alive = {(each.uid, each.container) for each in found.runs if each.ended is None}
    for workload, wanted in found.wanted.items():
        mine = pods[workload]
        run = sum(1 for each in mine if _runs(each[-1], alive))
        if run != wanted.running:
            kind = LOST if run < wanted.running else TWICE
            shown = [f"{x[-1].name} {x[-1].phase}" for x in mine if not x[-1].gone]
            yield Finding(kind, workload, f"{run} of {wanted.running} pods run: {shown}")
        if wanted.completions is not None:
            done = [each for each in mine if any(x.phase == "Succeeded" for x in each)]
            # NB: a user who deletes a pod that then completes has one more.
            least = sum(1 for each in done if not _was_deleted_before_it_was_done(each))
            if not least <= wanted.completions <= len(done):
                kind = TWICE if least > wanted.completions else LOST
                text = f"{len(done)} pods succeeded, of {wanted.completions} completions"
                yield Finding(kind, workload, text)
            if wanted.reported != wanted.completions:
                text = f"its Job counts {wanted.reported} of {wanted.completions} completions"
                yield Finding(LOST, workload, text)


def _was_deleted_before_it_was_done(versions: Sequence[Version]) -> bool:
    return next(each for each in versions if each.phase == "Succeeded").deleting


def _runs(pod: Version, alive: set[_Key]) -> bool:
    lasting = {n: c for n, c in pod.containers.items() if n not in set(pod.inits) - pod.sidecars}
    steady = bool(lasting) and all(c.running and (pod.uid, n) in alive for n, c in lasting.items())
    return steady and pod.phase == "Running" and not (pod.gone or pod.deleting)


def _machine(found: Recording, story: _Story) -> Iterator[Finding]:
    """Nothing is on the machine that is not of a pod that is there."""
    alive = {each.process for each in found.runs if each.ended is None}
    for process in sorted(found.machine.workers - alive, key=lambda each: each.pid):
        text = "a container's process, and no guest that lives has it"
        yield Finding(ORPHAN, f"process {process.pid} {process.name}", text)
    for name, count in collections.Counter(found.machine.others).items():
        if name not in _SERVICES or count > 1:
            yield Finding(ORPHAN, f"process {name}", f"{count} of them below the runtime")
    there = {uid for uid, each in story.items() if not each[-1].gone}
    for where, uids in sorted(found.machine.pods.items()):
        for uid in sorted(uids - there):
            yield Finding(ORPHAN, f"pod {uid}", f"it is gone, and left {where}")
    for stray in sorted(found.machine.strays):
        yield Finding(ORPHAN, stray, "it is of no pod, and was not there before")
