"""
Commands inside of containers on a real cluster: probes, hooks, and by hand.

What they find is an emptyDir whose files the test itself puts there and reads,
on the node's disk.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e import images as oci
from e2e import pods
from e2e.cluster import Registry, WasmNode, wait_until
from e2e.health import Health
from e2e.namespaces import Bed, Namespace
from tests.wasm import guests

_PROGRAMS = {"main": "sleep", "check": "readfile", "note": "note", "cat": "cat", "exit": "exit"}


@pytest.fixture(scope="session")
def image(registry: Registry) -> str:
    """Give the reference of an image of several programs."""
    files = {f"bin/{name}": guests.path(guest).read_bytes() for name, guest in _PROGRAMS.items()}
    return oci.push_tar_image(registry.address, "guests/several", files, ["main"]).reference


def _pod(image: str, **fields: Any) -> dict[str, Any]:
    """Give a pod `p` that sleeps, with a volume at /data."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    pod = pods.pod("p", image, restart="Always", volumeMounts=mounts, **fields)
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    return pod


def _exec(command: list[str], **numbers: int) -> dict[str, Any]:
    often = {"periodSeconds": 1, "failureThreshold": 1}
    return {"exec": {"command": command}, **often, "timeoutSeconds": 20, **numbers}


def _volume(node: WasmNode, pod: Mapping[str, Any]) -> Path:
    return node.state.joinpath("pods", pod["metadata"]["uid"], "volumes", "data")


def _run(node: WasmNode, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    program = str(Path(sys.executable).parent / "wasm-node")
    command = [program, "exec", *node.flags(), *words]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_readiness_by_a_command(namespace: Namespace, image: str) -> None:
    """A Service has the pod while the command ends with 0, and only then."""
    probe = _exec(["check", "$(FILE)"])
    env = [{"name": "FILE", "value": "/data/healthy"}]
    pod = _pod(image, readinessProbe=probe, env=env)
    pod["metadata"]["labels"] = {"app": "p"}
    spec = {"selector": {"app": "p"}, "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}

    def is_served() -> bool | None:
        slices = json.loads(namespace.kubectl("get", "endpointslices", "-o=json"))["items"]
        found = (each for one in slices for each in one.get("endpoints") or ())
        return next((each["conditions"]["ready"] for each in found), None)

    namespace.apply(service, pod)
    healthy = _volume(namespace.bed.node, namespace.wait_running("p")) / "healthy"
    wait_until(lambda: is_served() is False, "an unready endpoint", within_s=20)
    healthy.write_text("yes\n")
    ready = namespace.wait("p", "a ready pod", pods.is_ready)
    wait_until(is_served, "a ready endpoint", within_s=20)
    healthy.unlink()
    namespace.wait(
        "p", "an unready pod", lambda seen: seen.at > ready.at and not pods.is_ready(seen)
    )
    wait_until(lambda: is_served() is False, "an unready endpoint again", within_s=20)

    assert pods.status(ready.pod)["restartCount"] == 0
    assert set(namespace.events("Unhealthy")) == {"Readiness probe failed: "}


def test_liveness_by_an_export(namespace: Namespace, image: str) -> None:
    """A trap has failed; the container is begun anew."""
    namespace.apply(_pod(image, livenessProbe=_exec(["note#cries"])))
    namespace.wait("p", "another attempt", lambda seen: pods.status(seen.pod).get("restartCount"))
    said = wait_until(lambda: namespace.events("Unhealthy"), "its event", within_s=20)

    assert said[0].startswith("Liveness probe failed: ")
    assert "unreachable" in said[0]


def test_a_command_that_hangs_is_killed(namespace: Namespace, image: str) -> None:
    """It has failed in the kubelet's words; no process of it is left."""
    node = namespace.bed.node
    hangs = _exec(["main", "x y"], timeoutSeconds=1, failureThreshold=1000)
    namespace.apply(_pod(image, livenessProbe=hangs))
    wait_until(lambda: node.processes("exec:"), "the command", within_s=20)
    said = wait_until(lambda: namespace.events("Unhealthy"), "its event", within_s=20)
    namespace.kubectl("delete", "pod", "p")
    wait_until(lambda: not node.processes("exec:"), "an end of them all", within_s=20)

    assert said[0] == 'Liveness probe failed: command timed out: "main x y" timed out after 1s'


def test_what_is_not_there_is_told_and_counts_for_nothing(namespace: Namespace, image: str) -> None:
    """The event names it and what there is instead; nothing is restarted."""
    namespace.apply(_pod(image, livenessProbe=_exec(["/bin/sh", "-c", "true"])))
    said = wait_until(lambda: namespace.events("Unhealthy"), "its event", within_s=30)
    pod = namespace.history("p")[-1]

    assert said[0].startswith(
        "Liveness probe errored and resulted in unknown state: "
        "cannot run /bin/sh in container main: there is no '/bin/sh' in it"
    )
    assert pods.status(pod.pod)["restartCount"] == 0


def test_hooks_see_what_their_container_sees(
    namespace: Namespace, image: str, health: Health
) -> None:
    """Both write to its volume, one after the start, one before the end."""
    lifecycle = {
        name: {"exec": {"command": ["note", word]}}
        for name, word in (("postStart", "hello"), ("preStop", "bye"))
    }
    pod = _pod(image, lifecycle=lifecycle, startupProbe=_exec(["note#noted"]))
    late = {"preStop": health.ask()}  # so that there is a volume to look at
    pod["spec"]["containers"].append({"name": "late", "image": image, "lifecycle": late})
    namespace.apply(pod)
    running = namespace.wait("p", "a ready pod", pods.is_ready).pod
    notes = _volume(namespace.bed.node, running) / "notes"
    read = _run(namespace.bed.node, "-c=main", f"{namespace.name}/p", "--", "check", "/data/notes")
    health.may_answer.clear()
    namespace.kubectl("delete", "pod", "p", "--wait=false")
    wait_until(lambda: notes.read_text() == "hello\nbye\n", "the second note", within_s=20)
    health.may_answer.set()

    assert read.stdout == "hello\n"
    for reason in ("FailedPostStartHook", "FailedPreStopHook", "Unhealthy"):
        assert namespace.events(reason) == []


def test_a_start_whose_command_fails_is_ended(namespace: Namespace, image: str) -> None:
    """It is told in the kubelet's words, and begun anew."""
    hook = {"postStart": {"exec": {"command": ["exit", "3"]}}}
    namespace.apply(_pod(image, lifecycle=hook))
    namespace.wait("p", "another attempt", lambda seen: pods.status(seen.pod).get("restartCount"))
    failed = wait_until(lambda: namespace.events("FailedPostStartHook"), "its event", within_s=30)

    assert failed[0] == "PostStartHook failed"


def test_by_hand_while_all_else_is_away(
    breakable: Bed, breakable_namespace: Namespace, image: str
) -> None:
    """Neither agent nor API server: streams and the exit code are its own."""
    namespace, node = breakable_namespace, breakable.node
    namespace.apply(_pod(image))
    namespace.wait_running("p")
    breakable.plane.stop_apiserver()
    node.agent.kill()
    try:
        copied = _run(node, "-i", "p", "--", "cat", stdin="back and forth\n")
        deaf = _run(node, "p", "--", "cat", stdin="not given\n")
        ended = _run(node, f"{namespace.name}/p", "--", "exit", "42")
        absent = _run(node, "p", "--", "nosuch")
    finally:
        breakable.plane.start_apiserver()
        node.start_agent()
        node.wait_ready()
    (log,) = node.logs.glob(f"{namespace.name}_p_*/main/0.log")

    assert (copied.returncode, copied.stdout) == (0, "back and forth\n")
    assert (deaf.returncode, deaf.stdout) == (0, "")
    assert ended.returncode == 42
    assert absent.returncode == 126
    assert "there is no 'nosuch' in it; its wasm files are /bin/cat" in absent.stderr
    assert log.read_text() == ""  # nothing of it is the container's
