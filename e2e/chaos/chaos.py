"""
A chaos run: carry the faults out, let it settle, and have it audited.

What may be looked at is collected into a `Recording` at any time; the run has
settled when its audit finds nothing, and what it still finds after the deadline
is what is wrong.
"""

import contextlib
import dataclasses
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from e2e.chaos import audit, faults, machine, recording, workload
from e2e.chaos.bed import ChaosBed
from e2e.chaos.faults import Churn, Fault, Kind
from e2e.chaos.findings import LOST, Finding
from e2e.cluster import Failed, api, wait_until

_SETTLE_WITHIN_S = 120.0
_GONE_WITHIN_S = 60.0


class ChaosRun:
    """One run on a bed."""

    def __init__(self, bed: ChaosBed, maker: workload.Maker) -> None:
        self._bed = bed
        self._maker = maker
        self._began = time.monotonic()
        self._told: list[recording.Event] = []
        self._kills: list[recording.Kill] = []
        self._deaths: list[float] = []
        self._breaks: list[float] = []
        self._forced: set[str] = set()
        self._wanted: dict[str, recording.Wanted] = {}
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._made = 0

    def make(self, workloads: Iterable[workload.Workload]) -> None:
        """Create workloads, which are wanted from then on."""
        listed = list(workloads)
        self._bed.apply(*(each for made in listed for each in made.objects))
        self._wanted |= {made.name: made.wanted for made in listed}

    def suffer(self, schedule: Sequence[Fault]) -> None:
        """Carry faults out, each with what users do meanwhile."""
        for each in schedule:
            self._until(time.monotonic() + each.after_s)
            self._bed.plane.restart_ended()
            chance = random.Random(each.draw)  # noqa: S311  # a seed is what it is about
            self._say(f"{each.kind.value}, {each.for_s:.1f} s")
            self._carry_out(each, chance)
            self._meddle(each.churn, chance)
        if any(each.kind is Kind.KILL_API_SERVER for each in schedule):
            self._bed.plane.restart_controllers()

    def delete(self, name: str) -> None:
        """Delete a pod that stands for itself, and want it no more."""
        self._wanted[name] = recording.Wanted()
        self._bed.call("DELETE", f"pods/{name}")

    def settle(self, within_s: float = _SETTLE_WITHIN_S) -> list[Finding]:
        """Stop what loops, wait until all is well; return what is not."""
        while self._due:
            self._until(self._due[0][0])
        self._bed.beside.call(self._bed.proxy.opened())
        self._bed.ledger.calm = True
        self._say("calm")
        return self._wait_for_nothing_wrong(within_s)

    def clear(self) -> list[Finding]:
        """Delete all, wait until nothing is left; return what is."""
        self._say("all is deleted")
        self._wanted = {
            name: dataclasses.replace(each, running=0) for name, each in self._counted().items()
        }
        plane = self._bed.plane
        words = ("--all", f"--namespace={self._bed.namespace}", "--wait=false")
        plane.kubectl("delete", "deployments,statefulsets,jobs", *words)
        plane.kubectl("delete", "pods", *words)
        return self._wait_for_nothing_wrong(_GONE_WITHIN_S, empty=True)

    def collect(self, *, empty: bool = False) -> recording.Recording:
        """
        Collect what the witnesses have by now.

        `empty`: nothing at all may be left of any pod.
        """
        # NB: the machine first, and the API last: what is on its way from one
        # to the other is then news to the witness that is asked later.
        bed = self._bed
        seen = machine.look(bed.node, bed.untouched)
        runs, commands = bed.ledger.runs(), bed.ledger.commands()
        if not empty:
            seen = dataclasses.replace(seen, strays=frozenset())
        return recording.Recording(
            runs,
            bed.record.versions(),
            tuple(self._kills),
            frozenset(self._forced),
            self._wanted if empty else self._counted(),
            seen,
            tuple(self._deaths),
            commands,
            tuple(self._breaks),
            time.monotonic(),
        )

    def timeline(self, findings: Iterable[Finding]) -> str:
        """Tell what was done when, and all that is known of what is wrong."""
        found = self.collect()
        listed = list(findings)
        said = {name for each in listed for name in (each.of, each.of.rpartition("/")[0])}
        of = {
            x.name
            for x in found.versions
            if said & {x.name, x.workload, f"pod {x.uid}"} or any(x.name in y.text for y in listed)
        }
        events = [*self._told]
        for run in found.runs:
            if run.pod in of:
                process = run.process.pid if run.process else "?"
                name = f"{run.pod}/{run.container} run {run.nonce} (pid {process})"
                events.append(recording.Event(run.began, f"{name} began"))
                if run.ended is not None:
                    told = "" if run.told is None else f", told {run.told}"
                    events.append(recording.Event(run.ended, f"{name} ended{told}"))
        for command in found.commands:
            if command.pod in of:
                name = f"{command.what} {command.nonce} of {command.pod}/{command.container}"
                events.append(recording.Event(command.began, f"{name} began"))
                if command.ended is not None:
                    told = "" if command.told is None else f", told {command.told}"
                    events.append(recording.Event(command.ended, f"{name} ended{told}"))
        for version in found.versions:
            if version.name in of:
                about = "gone" if version.gone else "deleting" if version.deleting else ""
                shown = {name: _brief(each) for name, each in version.containers.items()}
                text = f"{version.name} in the API: {version.phase} {about} {shown}"
                events.append(recording.Event(version.at, text))
        events.sort(key=lambda each: each.at)
        return "\n".join(f"{each.at - self._began:8.2f} {each.what}" for each in events)

    def _say(self, what: str) -> None:
        self._told.append(recording.Event(time.monotonic(), what))

    def _until(self, at: float) -> None:
        """Let time pass, and do in it what is due."""
        while True:
            self._due.sort(key=lambda each: each[0])
            due = self._due[0][0] if self._due else at
            threading.Event().wait(max(0.0, min(due, at) - time.monotonic()))
            if not self._due or due > at:
                return
            self._due.pop(0)[1]()

    def _later(self, after_s: float, what: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + after_s, what))

    def _carry_out(self, fault: Fault, chance: random.Random) -> None:
        bed = self._bed
        match fault.kind:
            case Kind.KILL_SUPERVISOR:
                self._kill_service("supervisor")
            case Kind.KILL_FORK_SERVER:
                self._kill_service("fork server")
            case Kind.KILL_WORKERS:
                self._kill_workers(chance)
            case Kind.KILL_RUNTIME:
                self._kill_runtime(fault)
            case Kind.API_GONE:
                bed.beside.call(bed.proxy.vanish(fault.for_s))
            case Kind.WATCH_CUT:
                bed.beside.call(bed.proxy.cut())
            case Kind.API_SLOW:
                bed.beside.call(bed.proxy.slow(fault.for_s))
            case Kind.API_WRONG:
                bed.beside.call(bed.proxy.fail(fault.for_s))
            case Kind.KILL_API_SERVER:
                bed.plane.stop_apiserver()
                bed.plane.start_apiserver()
            case _:
                self._end_agent(fault)

    def _end_agent(self, fault: Fault) -> None:
        if fault.kind is Kind.END_AGENT:
            self._bed.node.agent.terminate()
        else:
            self._bed.node.agent.kill()
        if fault.kind is Kind.KILL_ALL_PARTS:
            self._kill_service("supervisor")
            self._kill_service("fork server")
        self._later(fault.for_s, self._start_agent)

    def _start_agent(self) -> None:
        if not self._bed.node.agent.running:
            self._say("the agent is started")
            self._bed.node.start_agent()

    def _kill_service(self, name: str) -> None:
        self._breaks.append(time.monotonic())
        os.kill(self._service(name), signal.SIGKILL)

    def _service(self, name: str) -> int:
        def pid() -> int:
            with contextlib.suppress(ValueError):  # another fault was here just now
                return self._bed.node.service(name)
            return 0

        return wait_until(pid, f"the {name}", within_s=30)

    def _kill_runtime(self, fault: Fault) -> None:
        """Kill init, and with it every worker; all are on the record."""
        node, forks = self._bed.node, self._service("fork server")
        os.kill(forks, signal.SIGSTOP)  # no worker is born that nobody knows of
        wait_until(lambda: machine.all_named(node, forks), "workers with names", within_s=30)
        self._breaks.append(time.monotonic())
        self._kills += [recording.Kill(time.monotonic(), x) for x in machine.workers(node)]
        node.runtime.kill()
        self._until(time.monotonic() + fault.for_s)
        self._deaths.append(time.monotonic())
        node.start_runtime()

    def _kill_workers(self, chance: random.Random) -> None:
        there = machine.workers(self._bed.node)
        for each in chance.sample(there, min(len(there), chance.randint(1, 3))):
            with contextlib.suppress(ProcessLookupError), _held(each) as pidfd:
                # NB: on the record first, as its end may be seen at once.
                self._kills.append(recording.Kill(time.monotonic(), each))
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                self._say(f"killed {each.pid} {each.name}")

    def _meddle(self, churn: Churn, chance: random.Random) -> None:
        match churn:
            case Churn.CREATE:
                self._made += 1
                self._say(f"create more-{self._made}")
                self.make([self._maker.another(f"more-{self._made}", chance)])
            case Churn.JOB:
                self._made += 1
                self._say(f"create job-{self._made}")
                script = "$(UID):5@1000,0@1000"
                self.make([self._maker.job(f"job-{self._made}", "OnFailure", script, 2)])
            case Churn.DELETE:
                self._delete(chance, workload.GRACE_S)
            case Churn.DELETE_NOW:
                self._delete(chance, 1)
            case Churn.FORCE:
                self._delete(chance, 0)
            case Churn.ROLL_OUT:
                name = chance.choice(("serve", "web"))
                self._say(f"restart Deployment {name}")
                namespace = f"--namespace={self._bed.namespace}"
                # NB: `rollout restart` refuses two within a second.
                self._made += 1
                about = {"annotations": {"chaos": str(self._made)}}
                changed = json.dumps({"spec": {"template": {"metadata": about}}})
                self._bed.plane.kubectl(namespace, "patch", f"deployment/{name}", "-p", changed)

    def _delete(self, chance: random.Random, grace_s: int) -> None:
        pods = [
            each["metadata"]
            for each in self._bed.record.pods().values()
            if "deletionTimestamp" not in each["metadata"]
            and not (grace_s == 0 and _is_of_job(each))
        ]
        if not pods:
            return
        meta = chance.choice(sorted(pods, key=lambda each: str(each["name"])))
        if "ownerReferences" not in meta:
            self._wanted[meta["labels"]["chaos"]] = recording.Wanted()
        if grace_s == 0:
            self._forced.add(meta["uid"])
        self._say(f"delete {meta['name']} with {grace_s} s")
        with contextlib.suppress(api.Refused):  # it went by itself
            self._bed.call(
                "DELETE",
                f"pods/{meta['name']}",
                {"gracePeriodSeconds": grace_s, "preconditions": {"uid": meta["uid"]}},
            )

    def _counted(self) -> dict[str, recording.Wanted]:
        """Return what is wanted, with what Jobs say that they have."""
        path = f"/apis/batch/v1/namespaces/{self._bed.namespace}/jobs"
        found = dict(self._wanted)
        for job in self._bed.plane.admin.get(path)["items"]:
            name, done = job["metadata"]["name"], job["status"].get("succeeded", 0)
            found[name] = dataclasses.replace(found[name], reported=done)
        return found

    def _wait_for_nothing_wrong(self, within_s: float, *, empty: bool = False) -> list[Finding]:
        findings: list[Finding] = []

        def nothing() -> bool:
            findings[:] = audit.audit(self.collect(empty=empty))
            if empty and (left := self._bed.record.pods()):
                text = "it is still there"
                findings.extend(Finding(LOST, uid, text) for uid in left)
            return not findings

        with contextlib.suppress(Failed):
            wait_until(nothing, "nothing wrong", within_s=within_s)
        return findings


@contextlib.contextmanager
def _held(process: recording.Process) -> Iterator[int]:
    """
    Give a pidfd of this very process.

    Raises:
        ProcessLookupError: it is gone.
    """
    pidfd = os.pidfd_open(process.pid)
    try:
        if not machine.is_alive(process):
            raise ProcessLookupError
        yield pidfd
    finally:
        os.close(pidfd)


def _is_of_job(pod: dict[str, object]) -> bool:
    meta = pod["metadata"]
    assert isinstance(meta, dict)
    return any(each["kind"] == "Job" for each in meta.get("ownerReferences", ()))


def _brief(each: recording.Container) -> str:
    state = "running" if each.running else each.ending or "waiting"
    return f"restarts {each.restarts}, {state}, last {each.last}"


def kinds(*, long: bool) -> list[Kind]:
    """List the kinds of faults of a run."""
    return [each for each in faults.Kind if long or each is not Kind.KILL_API_SERVER]
