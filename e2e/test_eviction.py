"""
A node that is short of memory, and shut down, as its cluster sees it.

The node of these tests may use 300 MiB and offers what is above its threshold.
What the control plane makes of its conditions is the control plane's.
"""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e import images as oci
from e2e import namespaces, pods
from e2e.cluster import ControlPlane, Guard, Registry, WasmNode, wait_until
from e2e.health import Health
from e2e.namespaces import Bed, Namespace
from tests.wasm import guests
from wasm_node.protocol import journal, layout, records

Images = Callable[[str], str]

_NAME = "wasm-small"
_TAINT = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
_MODEST = {"resources": {"requests": {"memory": "32Mi"}}}


@pytest.fixture(scope="module")
def small(
    guard: Guard, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bed]:
    """Give a node of its own: tight limits, and conditions that pass soon."""
    settings = {
        "evictionHard": {"memory.available": "100Mi"},
        "evictionPressureTransitionPeriod": "12s",
    }
    limits = [
        f"--memory-bytes={300 << 20}",
        "--shutdown-grace-period-by-pod-priority=0=30,2000000000=1",
    ]
    directory = tmp_path_factory.mktemp("small") / "s"
    node = WasmNode.start(guard, directory, plane, _NAME, settings=settings, limits=limits)
    with namespaces.alone(plane, node) as bed:
        yield bed


@pytest.fixture
def space(small: Bed) -> Iterator[Namespace]:
    """Give an empty namespace, whose pods belong on that node."""
    with small.namespace() as made:
        yield made


def _pod(name: str, image: str, *args: object, **more: Any) -> dict[str, Any]:
    made = pods.pod(name, image, *args, **more)
    made["spec"]["nodeName"] = _NAME
    return made


def _once(images: Images, **more: Any) -> dict[str, Any]:
    """Give a pod that nothing restarts, and that is ended within a second."""
    made = _pod("once", images("sleep"), **more)
    made["spec"]["terminationGracePeriodSeconds"] = 1
    return made


def _job(name: str, image: str, *args: object) -> dict[str, Any]:
    spec = pods.spec(image, *args)
    spec["nodeSelector"] = {"kubernetes.io/hostname": _NAME}
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "template": {"spec": spec},
            "backoffLimit": 0,
            "podFailurePolicy": {"rules": [disrupted]},
        },
    }


def _node(space: Namespace) -> Any:
    return space.bed.plane.admin.get(f"/api/v1/nodes/{_NAME}")


def _unready(space: Namespace) -> Any:
    ready = pods.condition(_node(space), "Ready")
    return ready if ready["status"] == "False" else None


def _is_tainted(space: Namespace) -> bool:
    taints = _node(space)["spec"]["taints"]
    return any(_TAINT.items() <= each.items() for each in taints)


def _is_short(space: Namespace) -> bool:
    return bool(pods.condition(_node(space), "MemoryPressure")["status"] == "True")


def _pods_of(space: Namespace, job: str) -> list[Any]:
    found = space.get(f"pods?labelSelector=job-name={job}")["items"]
    return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))


def test_a_node_that_is_short_of_memory(space: Namespace, images: Images) -> None:
    """
    One pod goes, with the kubelet's words; no more come; then it is over.

    Its Job does not count that as a failure, and makes another one.
    """
    space.apply(_pod("modest", images("hold"), 8, restart="Always", **_MODEST))
    space.wait_running("modest")
    space.apply(_job("greedy", images("hold"), 1000, 10))
    first = wait_until(lambda: _pods_of(space, "greedy"), "a pod of the job", within_s=20)[0]
    evicted = space.wait_over(first["metadata"]["name"])
    wait_until(lambda: _is_tainted(space), "the taint", within_s=20)
    pressure = pods.condition(_node(space), "MemoryPressure")
    space.apply(_pod("best-effort", images("sleep"), restart="Always"))
    space.apply(_pod("burstable", images("sleep"), restart="Always", **_MODEST))
    refused = space.wait_over("best-effort")
    space.wait_running("burstable")
    # It has no failure left: without DisruptionTarget it would have failed.
    wait_until(lambda: _pods_of(space, "greedy")[1:], "another pod of the job", within_s=20)
    # That one may have run: the condition is looked at once it has gone, too.
    space.kubectl("delete", "job", "greedy", "--cascade=foreground")
    wait_until(lambda: not (_is_short(space) or _is_tainted(space)), "no taint", within_s=60)
    space.apply(_pod("later", images("sleep"), restart="Always"))
    space.wait_running("later")

    status = evicted["status"]
    target = pods.condition(evicted, "DisruptionTarget")
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert status["message"].startswith(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: "
    )
    assert "Container main was using " in status["message"]
    assert "request is 0, has larger consumption of memory. " in status["message"]
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert target["message"] == status["message"]
    assert pods.state(evicted, "terminated")["exitCode"] == 143
    space.wait_event("Evicted", status["message"])
    assert (pressure["status"], pressure["reason"]) == ("True", "KubeletHasInsufficientMemory")
    assert refused["status"]["reason"] == "Evicted"
    assert refused["status"]["message"] == (
        "Pod was rejected: The node had condition: [MemoryPressure]. "
    )
    assert pods.status(space.get("pods/modest"))["restartCount"] == 0


def test_a_critical_pod_has_others_end(space: Namespace, images: Images) -> None:
    """
    One goes, which has what it needs, and is waited for: it has its grace.

    An agent that is killed meanwhile changes nothing of that.
    """
    node = space.bed.node
    large = {"resources": {"requests": {"memory": "80Mi"}}}
    victim = _pod("victim", images("sleep"), **large)
    victim["spec"]["terminationGracePeriodSeconds"] = 4
    critical = _pod("critical", images("sleep"), restart="Always", **large)
    critical["spec"]["priorityClassName"] = "system-node-critical"
    little = {"resources": {"requests": {"memory": "8Mi"}}}
    space.apply(victim, _pod("bystander", images("sleep"), restart="Always", **little))
    for name in ("victim", "bystander"):
        space.wait_running(name)
    space.apply(critical)
    wait_until(lambda: space.events("Preempting"), "an event", within_s=20)
    node.agent.kill()
    node.start_agent()
    over = space.wait_over("victim")
    space.wait_running("critical")
    apart = pods.state(over, "terminated")["finishedAt"]
    began = pods.state(space.get("pods/critical"), "running")["startedAt"]
    enormous = _pod("enormous", images("sleep"), resources={"requests": {"memory": "1Gi"}})
    enormous["spec"]["priorityClassName"] = "system-cluster-critical"
    space.apply(enormous)
    rejected = space.wait_over("enormous")["status"]

    target = pods.condition(over, "DisruptionTarget")
    said = "Preempted in order to admit critical pod"
    assert (over["status"]["phase"], over["status"]["reason"]) == ("Failed", "Preempting")
    assert over["status"]["message"] == said
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert target["message"] == "Pod was preempted by Kubelet to accommodate a critical pod."
    assert space.events("Preempting") == [said]
    assert apart <= began
    assert pods.is_running(space.history("bystander")[-1])
    assert pods.status(space.get("pods/bystander"))["restartCount"] == 0
    assert (rejected["phase"], rejected["reason"]) == ("Failed", "UnexpectedAdmissionError")
    assert rejected["message"].startswith(
        "Pod was rejected: Unexpected error while attempting to recover from admission failure:"
        " preemption: error finding a set of pods to preempt: no set of running pods found to"
        " reclaim resources: [(res: memory, q: "
    )


def test_a_node_that_is_shut_down(space: Namespace, images: Images) -> None:
    """What it ended, it says; what a policy restarts goes on with the next."""
    node = space.bed.node
    space.apply(_once(images))
    space.apply(_pod("service", images("sleep"), restart="Always", **_MODEST))
    for name in ("once", "service"):
        space.wait_running(name)
    node.runtime.terminate(within_s=20)
    node.start_runtime()
    over = space.wait_over("once")
    again = space.wait(
        "service", "a restart", lambda seen: pods.status(seen.pod).get("restartCount") == 1
    )
    wait_until(lambda: len(space.events("Killing")) == 2, "both ends' events", within_s=30)

    target = pods.condition(over, "DisruptionTarget")
    assert (over["status"]["phase"], over["status"]["reason"]) == ("Failed", "Terminated")
    assert over["status"]["message"] == (
        "Pod was terminated in response to imminent node shutdown."
    )
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert pods.state(over, "terminated")["exitCode"] == 143
    assert pods.status(again.pod)["lastState"]["terminated"]["exitCode"] == 143


def _noting(registry: Registry) -> dict[str, Any]:
    """Give a pod `notes` whose hook, a command, writes to its volume."""
    programs = {"main": "sleep", "note": "note"}
    files = {f"bin/{name}": guests.path(guest).read_bytes() for name, guest in programs.items()}
    image = oci.push_tar_image(registry.address, "guests/noting", files, ["main"]).reference
    made = _pod(
        "notes",
        image,
        restart="Always",
        lifecycle={"preStop": {"exec": {"command": ["note", "bye"]}}},
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    made["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    return made


def test_commands_are_called_when_a_node_shuts_down(space: Namespace, registry: Registry) -> None:
    """In the container's sandbox, whose volume has it, and before its end."""
    node = space.bed.node
    space.apply(_noting(registry))
    uid = space.wait_running("notes")["metadata"]["uid"]
    notes = layout.volume(node.state, uid, "data") / "notes"
    before = notes.exists()
    node.runtime.terminate(within_s=20)
    directory = layout.attempt(node.state, records.AttemptId(uid, "main", 0))
    stop = journal.StopNote.from_json((directory / layout.STOP).read_bytes())
    how = records.ExitRecord.from_json((directory / layout.EXIT).read_bytes())
    node.start_runtime()
    node.wait_ready()

    assert not before
    assert notes.read_text() == "bye\n"
    assert stop.signalled
    assert notes.stat().st_mtime_ns < stop.deadline_ns <= how.finished_at_ns
    assert (how.code, how.ended_by) == (143, records.EndedBy.SHUTDOWN)
    wait_until(lambda: space.events("Killing"), "its event", within_s=30)
    assert space.events("FailedPreStopHook") == []


def test_a_node_that_is_shutting_down(space: Namespace, images: Images, health: Health) -> None:
    """
    Hooks are called, no pod comes, and the Node says why; then all goes on.

    What a policy restarts is back with the next runtime; of a pod that was
    rejected nothing is.
    """
    node = space.bed.node
    ask = {"httpGet": {"path": "/bye", "port": health.port, "host": "127.0.0.1"}}
    for name, hook in (("asks", ask), ("sleeps", {"sleep": {"seconds": 1}})):
        lifecycle = {"preStop": hook}
        space.apply(_pod(name, images("sleep"), restart="Always", lifecycle=lifecycle))
        space.wait_running(name)
    before = list(health.asked)
    health.may_answer.clear()  # until the end of the hook nothing ends
    node.runtime.send(signal.SIGTERM)
    wait_until(lambda: health.asked, "the hook's request", within_s=20, alive=[node.runtime])
    unready = wait_until(lambda: _unready(space), "a Node that is not Ready", within_s=20)
    space.apply(_pod("late", images("sleep"), restart="Always"))
    late = space.wait_over("late")
    slow = pods.state(space.get("pods/asks"), "running")
    health.may_answer.set()
    node.runtime.wait(within_s=20)
    node.start_runtime()
    again = [
        space.wait(name, "a restart", lambda seen: pods.status(seen.pod).get("restartCount") == 1)
        for name in ("asks", "sleeps")
    ]
    node.wait_ready()

    assert (before, [path for path, _ in health.asked]) == ([], ["/bye"])
    assert (unready["reason"], unready["message"]) == ("KubeletNotReady", "node is shutting down")
    assert (late["status"]["phase"], late["status"]["reason"]) == ("Failed", "NodeShutdown")
    assert late["status"]["message"] == (
        "Pod was rejected: Pod was rejected as the node is shutting down."
    )
    assert slow
    assert [143, 143] == [
        pods.status(each.pod)["lastState"]["terminated"]["exitCode"] for each in again
    ]


def test_an_agent_that_is_told_twice(space: Namespace, images: Images) -> None:
    """It ends at once, and does not wait for the runtime, which ends, too."""
    node = space.bed.node
    lifecycle = {"preStop": {"sleep": {"seconds": 25}}}  # not waited for without an agent
    space.apply(_pod("p", images("sleep"), restart="Always", lifecycle=lifecycle))
    space.wait_running("p")
    node.runtime.send(signal.SIGTERM)
    wait_until(lambda: _unready(space), "a Node that is not Ready", within_s=20)
    for each in (signal.SIGTERM, signal.SIGINT):
        node.agent.send(each)
    node.agent.wait(within_s=20)
    there = node.runtime.running
    node.runtime.wait(within_s=20)
    node.start_agent()
    node.start_runtime()
    node.wait_ready()

    assert there


def test_a_host_that_is_shutting_down(space: Namespace, images: Images, health: Health) -> None:
    """Told at the same time, the agent goes last, and tells what it saw."""
    node = space.bed.node
    ask = {"httpGet": {"path": "/bye", "port": health.port, "host": "127.0.0.1"}}
    space.apply(_once(images, lifecycle={"preStop": ask}))
    space.wait_running("once")
    node.agent.send(signal.SIGTERM)
    node.runtime.send(signal.SIGTERM)
    node.runtime.wait(within_s=20)
    node.agent.wait(within_s=30)
    over = space.get("pods/once")
    node.start_runtime()
    node.start_agent()
    node.wait_ready()

    assert [path for path, _ in health.asked] == ["/bye"]
    assert (over["status"]["phase"], over["status"]["reason"]) == ("Failed", "Terminated")
    assert pods.condition(over, "DisruptionTarget")["status"] == "True"
