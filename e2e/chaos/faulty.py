"""
A runtime with a fault put in, to see that the audit notices.

    python faulty.py BUILD SETTINGS

The product has no place for faults: this changes it in its own process, before
that becomes the runtime, and processes that it forks have the change too.
"""

import dataclasses
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from wasm_node.protocol import layout, messages, records, settings
from wasm_node.runtime import attempts, endings, execs, init, starts, supervisor, volumes


def double_start() -> None:
    """Start the pod `stays` once more, and lose the claim of the first."""
    look = starts.Starts._look

    def look_and_send(self: Any, job: Any, **how: bool) -> None:
        look(self, job, **how)
        attempt = job.attempt
        if attempt.phase is attempts.Phase.RUNNING and job.tries == 1 and _is(attempt, "stays"):
            (attempt.directory / layout.JOURNAL).unlink()
            # Of a limit there would be a control group, and that is in use.
            job.spec = dataclasses.replace(job.spec, memory_limit_bytes=None)
            self._send(job)

    starts.Starts._look = look_and_send  # type: ignore[method-assign]


def lost_exit() -> None:
    """Pass over how the pod `ends` does that."""
    hear = supervisor._Supervisor._ended

    def pass_over(self: Any, attempt: attempts.Attempt, status: int | None) -> None:
        if not _is(attempt, "ends"):
            hear(self, attempt, status)

    supervisor._Supervisor._ended = pass_over  # type: ignore[method-assign]


def orphan() -> None:
    """Say of what is to be stopped that it has, and leave it alone."""

    def say(self: Any, each: records.AttemptId, grace_s: float, **_: bool) -> None:
        attempt = self._known.get(each)
        if attempt is not None and attempt.exit is None:
            self._over(attempt, endings.stopped_before_start(time.time_ns()))

    supervisor._Supervisor._stop = say  # type: ignore[method-assign]


def unrun_hook() -> None:
    """Say of what is to run beside a container that it has, and well."""

    def say(self: Any, wanted: messages.Exec, streams: list[int], done: Any) -> Any:
        for each in streams:
            os.close(each)
        now = time.time_ns()
        by_itself = records.EndedBy.ITSELF
        done(records.ExitRecord(0, by_itself, "Completed", "", now, now))
        return lambda: None

    execs.Execs.begin = say  # type: ignore[method-assign]


def lost_volume() -> None:
    """Give each container an empty volume."""
    make = volumes.Volumes.make

    def make_anew(self: Any, pod: str, mounts: Any, user: int | None) -> None:
        make(self, pod, mounts, user)
        for each in mounts:
            if Path(each.host_path).parent == layout.volumes(self._state, pod):
                shutil.rmtree(each.host_path)
        make(self, pod, mounts, user)

    volumes.Volumes.make = make_anew  # type: ignore[method-assign]


def _is(attempt: attempts.Attempt, pod: str) -> bool:
    spec = records.ContainerSpec.from_json((attempt.directory / layout.SPEC).read_bytes())
    return spec.pod_name == pod


BUILDS = {
    "double-start": double_start,
    "lost-exit": lost_exit,
    "orphan": orphan,
    "unrun-hook": unrun_hook,
    "lost-volume": lost_volume,
}

if __name__ == "__main__":
    BUILDS[sys.argv[1]]()
    sys.exit(init.run(settings.RuntimeSettings.from_json(sys.argv[2])))
