"""The engine's loops together, over fakes: what no table of a plan can show."""

import asyncio
import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import cluster
from tests.fakes.clock import settle
from tests.fakes.commands import FakeCommands
from tests.fakes.containers import FakeContainers
from tests.fakes.images import FakeImages
from tests.fakes.log_store import FakeLogStore
from tests.fakes.prober import FakeProber
from tests.fakes.puller import FakePuller
from tests.fakes.resources import FakeResources
from tests.fakes.workers import FakeWorkers
from wasm_node.agent import engine, errors, statedir
from wasm_node.agent.asynckit import clock
from wasm_node.agent.files import localpods, manifests
from wasm_node.agent.loops import evicting, presence, reconcile
from wasm_node.agent.model import desired, ids, image, manifest, parsing, probe, thresholds
from wasm_node.protocol import layout, messages, records

PLACE = engine.Place("wasm-a", "10.0.0.1")
HELLO = image.Image(
    "hello:1", "r/hello@sha256:1", "A", 9, Path("/hello.wasm"), ids.Digest("sha256:1"), None
)


def pod(name: str = "p", **spec: Any) -> desired.DesiredPod:
    """Return a pod of one container."""
    container = {"name": "main", "image": "hello:1"}
    return parsing.pod(
        {
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
            "spec": {"containers": [container], "restartPolicy": "Never", **spec},
        }
    )


def attempt(name: str = "p", number: int = 0) -> records.AttemptId:
    """Return the id of an attempt of such a pod."""
    return records.AttemptId(f"uid-{name}", "main", number)


class _FailsOnce(localpods.LocalPods):
    """Pods of which one status cannot be written, once it is told to."""

    fails = False

    async def write(self, pod: ids.PodRef, status: Mapping[str, Any]) -> None:
        """Write it, or not."""
        if self.fails:
            self.fails = False
            raise errors.Retryable("cannot reach the API server", reason="APIUnavailable")
        await super().write(pod, status)


class Bed:
    """Everything around an engine; engines come and go over it."""

    def __init__(self, directory: Path) -> None:
        self.pods = localpods.LocalPods()
        self.events = cluster.FakeEvents()
        self.puller = FakePuller({"hello:1": HELLO})
        self.containers = FakeContainers()
        self.logs = FakeLogStore()
        self.prober = FakeProber()
        self.commands = FakeCommands()
        self.workers = FakeWorkers()
        self.resources = FakeResources()
        self.node: cluster.FakeNode | None = None
        self.ended: list[records.AttemptId] = []
        self.directory = statedir.StateDir(
            directory / "state", directory / "run", directory / "logs"
        )
        self.directory.make()

    def apply(self, *wanted: desired.DesiredPod) -> None:
        """Want these pods."""
        self.pods.apply(manifests.Manifests(wanted, {}))

    @contextlib.asynccontextmanager
    async def running(
        self, rules: thresholds.Rules = thresholds.OFF
    ) -> AsyncIterator[engine.PodEngine]:
        """Run an engine for the length of the context."""
        enough = messages.Level(50, 100)
        outside = engine.Outside(
            source=self.pods,
            sink=self.pods,
            events=self.events,
            puller=self.puller,
            containers=self.containers,
            resources=self.resources,
            logs=self.logs,
            prober=self.prober,
            commands=self.commands,
            workers=self.workers,
            clock=clock.SystemClock(),
            progress=lambda *_: None,
            ended=lambda _, which: self.ended.append(which),
            node=self.node,
            eviction=evicting.Sources(
                rules, self.resources, lambda: (enough, enough), FakeImages()
            ),
        )
        made = engine.PodEngine(outside, self.directory, PLACE)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(made.run())
            yield made
            task.cancel()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Return once it holds."""
        while not condition():
            await asyncio.sleep(0.001)

    def container(self, name: str = "p") -> dict[str, Any]:
        """Return the container's status as written last; empty before."""
        status = self.pods.status(ids.pod_uid(f"uid-{name}")) or {}
        statuses: Sequence[dict[str, Any]] = status.get("containerStatuses", ())
        return dict(statuses[0]) if statuses else {}


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Give an empty bed, where paths are short."""
    with tempfile.TemporaryDirectory() as root:
        yield Bed(Path(root))


async def test_a_pod_runs_and_ends(bed: Bed) -> None:
    """From manifest to exit code: pulled, started, reported with its image."""
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("state", {}).get("running"))
        bed.containers.end(attempt(), 42)
        status = await bed.pods.over(ids.pod_uid("uid-p"))

    terminated = bed.container()["state"]["terminated"]
    assert ("Failed", 42, "Error") == (
        status["phase"], terminated["exitCode"], terminated["reason"]
    )  # fmt: skip
    assert bed.container()["imageID"] == "r/hello@sha256:1"
    assert ["Pulling", "Pulled", "Started"] == bed.events.reasons()
    assert attempt() in bed.ended


async def test_a_new_agent_adopts_what_runs(bed: Bed) -> None:
    """After a restart the same attempt goes on: no start, no count, no loss."""
    wanted = pod(restartPolicy="Always")
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
    before = bed.container()

    bed.pods = localpods.LocalPods()
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))

    assert before == bed.container()
    assert len(bed.containers.specs) == 1


async def test_an_end_while_no_agent_ran_is_reported(bed: Bed) -> None:
    """What ended meanwhile is told with its own code, and not run again."""
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
    bed.containers.end(attempt(), 7)

    bed.pods = localpods.LocalPods()
    bed.apply(pod())
    async with bed.running():
        status = await bed.pods.over(ids.pod_uid("uid-p"))

    assert "Failed" == status["phase"]
    assert bed.container()["state"]["terminated"]["exitCode"] == 7
    assert len(bed.containers.specs) == 1


async def test_a_restart_is_a_new_attempt(bed: Bed) -> None:
    """A failed container of an Always pod starts again, counted once."""
    bed.apply(pod(restartPolicy="Always"))
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        bed.containers.end(attempt(), 3)
        await bed.until(lambda: bed.container().get("restartCount") == 1)

    last = bed.container()["lastState"]["terminated"]
    assert (3, "wasmtime://uid-p/main/0") == (last["exitCode"], last["containerID"])


async def test_nothing_starts_before_the_runtime_was_heard(bed: Bed) -> None:
    """A pod that may be running already is not started on a guess."""
    gate = asyncio.Event()
    facts = bed.containers.facts

    async def late() -> AsyncIterator[Any]:
        await gate.wait()
        async for each in facts():
            yield each

    bed.containers.facts = late  # type: ignore[method-assign]  # a runtime that is late
    bed.apply(pod())
    async with bed.running() as made:
        await settle()
        assert (False, []) == (made.runtime.is_here, bed.containers.specs)
        gate.set()
        await bed.until(lambda: bed.containers.specs)


async def test_a_deletion_does_not_wait_for_a_pull(bed: Bed) -> None:
    """A pod deleted while its image is on its way is gone at once."""
    never = asyncio.Event()

    async def pull(*_: object, **__: object) -> image.Image:
        await never.wait()
        raise AssertionError

    bed.puller.pull = pull  # type: ignore[method-assign]  # a registry that stalls
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: "Pulling" in bed.events.reasons())
        bed.pods.delete(ids.pod_uid("uid-p"), grace_s=30)
        await bed.pods.removed(ids.pod_uid("uid-p"))

    assert bed.containers.specs == []


async def test_a_deleted_pod_leaves_nothing(bed: Bed) -> None:
    """Stopped, reported, removed, forgotten: records, logs and directory."""
    bed.apply(pod(terminationGracePeriodSeconds=5))
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        assert bed.directory.pod("uid-p").exists()
        bed.pods.delete(ids.pod_uid("uid-p"))
        await bed.pods.removed(ids.pod_uid("uid-p"))
        await bed.until(lambda: not bed.directory.pod("uid-p").exists())

    assert [(attempt(), 5.0)] == bed.containers.stops
    assert ["uid-p"] == bed.containers.forgotten
    assert ["uid-p"] == [each.uid for each in bed.logs.removed]


async def test_a_deleted_pod_that_never_began_has_failed(bed: Bed) -> None:
    """The last status written has a terminal phase, also of what waits."""
    bed.apply(pod(hostNetwork=True))
    async with bed.running():
        await bed.until(bed.container)
        bed.pods.delete(ids.pod_uid("uid-p"))
        status = await bed.pods.over(ids.pod_uid("uid-p"))
        await bed.pods.removed(ids.pod_uid("uid-p"))

    last = await bed.pods.over(ids.pod_uid("uid-p"))
    terminated = last["containerStatuses"][0]["state"]["terminated"]
    assert ("Failed", "Failed") == (status["phase"], last["phase"])
    assert terminated["reason"] == "ContainerStatusUnknown"


async def test_a_spec_says_how_long_a_shutdown_should_wait(bed: Bed) -> None:
    """A service could not notice; a job may finish within its grace."""
    job = pod("job", terminationGracePeriodSeconds=5)
    bed.apply(pod("service", restartPolicy="Always"), job)
    async with bed.running():
        await bed.until(lambda: len(bed.containers.specs) == 2)
    graces = {each.pod_name: each.stop_grace_s for each in bed.containers.specs}

    assert {"service": 0.0, "job": 5.0} == graces


async def test_what_its_source_no_longer_knows_is_ended(bed: Bed) -> None:
    """A pod that vanished while no agent ran is stopped and cleaned up."""
    bed.apply(pod(restartPolicy="Always"))
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))

    bed.pods = localpods.LocalPods()
    async with bed.running():
        await bed.until(lambda: bed.containers.forgotten)

    assert [(attempt(), 2.0)] == bed.containers.stops


async def test_what_is_left_of_a_pod_is_removed(bed: Bed) -> None:
    """An agent cut short leaves a directory: the next one finds it."""
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
    left, foreign = bed.directory.pod("uid-p"), bed.directory.pods / "no uid!"
    assert left.exists()
    bed.containers = FakeContainers()  # that knows of no attempt any more
    bed.pods = localpods.LocalPods()
    foreign.mkdir()
    async with bed.running():
        await bed.until(lambda: not left.exists())

    assert ["p"] == [each.name for each in bed.logs.removed]
    assert ["uid-p"] == bed.containers.forgotten
    assert foreign.exists()


async def test_a_runtime_that_is_away_is_waited_for(bed: Bed) -> None:
    """No crash and no loss: the container waits with the reason."""
    bed.containers.away = True
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("state", {}).get("waiting", {}).get("message"))

    assert bed.container()["state"]["waiting"]["reason"] == "RuntimeUnavailable"


class _Slow(localpods.LocalPods):
    """Pods whose ConfigMaps come when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """Wait, and return an empty one."""
        self.asked.set()
        await self.let.wait()
        return {}


async def test_a_start_under_way_is_not_for_the_next_runtime(bed: Bed) -> None:
    """With it the pod begins anew: what was prepared waits for its turn."""
    slow = bed.pods = _Slow()
    setup = {"name": "setup", "image": "hello:1"}
    main = {**setup, "name": "main", "envFrom": [{"configMapRef": {"name": "slow"}}]}
    bed.apply(pod(restartPolicy="Always", initContainers=[setup], containers=[main]))
    async with bed.running():
        await bed.until(lambda: bed.containers.specs)
        bed.containers.end(bed.containers.specs[0].id, 0)
        await slow.asked.wait()
        life = bed.containers.life()
        bed.containers.replace()
        await bed.until(lambda: bed.containers.life() != life)
        slow.let.set()
        await bed.until(lambda: len(bed.containers.specs) == 2)
        bed.containers.end(bed.containers.specs[1].id, 0)
        await bed.until(lambda: bed.container().get("state", {}).get("running"))

    begun = [(each.id.container, each.id.attempt) for each in bed.containers.specs]
    assert begun == [("setup", 0), ("setup", 1), ("main", 0)]
    assert "Failed" not in [reason for reason, _ in bed.events.told("p")]


async def test_a_pod_that_cannot_run_here_waits_and_says_why(bed: Bed) -> None:
    """An unsupported field starts nothing and fails nothing."""
    bed.apply(pod(hostNetwork=True))
    async with bed.running():
        await bed.until(bed.container)

    assert bed.container()["state"]["waiting"]["reason"] == "UnsupportedPodSpec"
    assert ["UnsupportedPodSpec"] == sorted(set(bed.events.reasons()))
    assert bed.containers.specs == []


async def test_a_wrong_image_waits_and_its_neighbour_runs(bed: Bed) -> None:
    """One pod's trouble is one pod's."""
    wrong = pod("wrong", containers=[{"name": "main", "image": "nosuch:1"}])
    bed.apply(wrong, pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        await bed.until(lambda: "message" in bed.container("wrong").get("state", {})["waiting"])

    waiting = bed.container("wrong")["state"]["waiting"]
    assert waiting["reason"] == "ImagePullBackOff"
    assert "nosuch:1" in waiting["message"]


async def test_a_bug_with_one_pod_is_that_pods(bed: Bed) -> None:
    """An unexpected exception ends neither the node nor its other pods."""
    program = bed.puller.program

    def broken(found: image.Image, command: Sequence[str], args: Sequence[str]) -> image.Program:
        if found.reference == "broken:1":
            raise ZeroDivisionError
        return program(found, command, args)

    bed.puller.program = broken  # type: ignore[method-assign]  # a bug of ours
    bed.puller.images["broken:1"] = dataclasses.replace(HELLO, reference="broken:1")
    bed.apply(pod("broken", containers=[{"name": "main", "image": "broken:1"}]), pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        await bed.until(lambda: "message" in bed.container("broken").get("state", {})["waiting"])

    assert bed.container("broken")["state"]["waiting"]["reason"] == "InternalError"


def _probed(**probes: Any) -> desired.DesiredPod:
    container = {"name": "main", "image": "hello:1", "ports": [{"containerPort": 8080}]}
    return pod(restartPolicy="Always", containers=[container | probes])


async def test_readiness_is_what_its_probe_says(bed: Bed) -> None:
    """Asked at the pod's port, by its own socket; its worker is told, too."""
    bed.prober.gate.clear()
    bed.apply(_probed(readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}))
    async with bed.running():
        await bed.until(lambda: bed.container().get("started"))
        before = bed.container()["ready"]
        bed.prober.gate.set()
        await bed.until(lambda: bed.container()["ready"])
        await bed.until(lambda: (attempt(), True) in bed.workers.told)

    at = bed.prober.asked[0][1]
    socket = layout.guest_socket(bed.directory.run, attempt())
    assert (False, "10.0.0.1", 8080, socket) == (before, at.host, at.port, at.socket)


async def test_a_failed_liveness_probe_is_a_restart(bed: Bed) -> None:
    """It is stopped with the probe's grace, and the next attempt begins."""
    liveness = {"tcpSocket": {"port": 9}, "failureThreshold": 1, "periodSeconds": 1}
    bed.prober.outcomes[9] = probe.Failed("refused")
    bed.apply(_probed(livenessProbe=liveness | {"terminationGracePeriodSeconds": 2}))
    async with bed.running():
        await bed.until(lambda: bed.container().get("restartCount") == 1)

    ended = bed.container()["lastState"]["terminated"]
    assert 143 == ended["exitCode"]
    assert (attempt(), 2.0) == bed.containers.stops[0]
    assert ["Unhealthy", "Killing"] == bed.events.reasons()[3:5]
    assert bed.prober.asked[0][1].socket is None  # it is no port of the container's


def _debugged(*extra: dict[str, Any], **spec: Any) -> desired.DesiredPod:
    return pod(restartPolicy="Always", ephemeralContainers=list(extra), **spec)


def _ephemeral(bed: Bed, name: str) -> dict[str, Any]:
    status = bed.pods.status(ids.pod_uid("uid-p")) or {}
    found = status.get("ephemeralContainerStatuses", ())
    return next((dict(each) for each in found if each["name"] == name), {})


async def test_an_ephemeral_container_is_one_more(bed: Bed) -> None:
    """Added to a pod that runs, it runs once; nothing else changes."""
    bed.apply(pod(restartPolicy="Always"))
    debugger = records.AttemptId("uid-p", "debugger", 0)
    async with bed.running() as made:
        await bed.until(lambda: bed.container().get("ready"))
        bed.apply(_debugged({"name": "debugger", "image": "hello:1"}))
        await bed.until(lambda: "running" in _ephemeral(bed, "debugger").get("state", {}))
        bed.containers.end(debugger, 4)
        await bed.until(lambda: "terminated" in _ephemeral(bed, "debugger").get("state", {}))
        told = made.look_up("default", "p")
        assert told is not None
        assert made.field(ids.pod_uid("uid-p"), "debugger") == "ephemeralContainers"
        assert "debugger" in {each.name for each in told.containers}

    assert _ephemeral(bed, "debugger")["state"]["terminated"]["exitCode"] == 4
    assert [attempt(), debugger] == [each.id for each in bed.containers.specs]
    assert bed.containers.specs[1].stop_grace_s == 0.0
    assert bed.container()["ready"]


async def test_an_ephemeral_container_that_cannot_run_says_so_once(bed: Bed) -> None:
    """It waits alone: its pod goes on, and its event is not said again."""
    bed.apply(_debugged({"name": "debugger", "image": "hello:1", "tty": True}))
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        bed.containers.end(attempt(), 1)
        await bed.until(lambda: bed.container().get("restartCount") == 1)

    refused = [event for _, event in bed.events.emitted if event.reason == "UnsupportedPodSpec"]
    waiting = _ephemeral(bed, "debugger")["state"]["waiting"]
    assert waiting["reason"] == "UnsupportedPodSpec"
    assert [("debugger", waiting["message"])] == [(x.container, x.message) for x in refused]
    assert "spec.ephemeralContainers[debugger].tty: " in waiting["message"]


def _of_image(bed: Bed, name: str, **spec: Any) -> desired.DesiredPod:
    bed.puller.images[name] = dataclasses.replace(
        HELLO, reference=name, image_id=f"r/{name}@sha256:2"
    )
    return pod(containers=[{"name": "main", "image": name}], **spec)


async def test_another_image_is_another_attempt(bed: Bed) -> None:
    """What runs is ended and begun anew, under any policy, and counted."""
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        bed.apply(_of_image(bed, "other:1"))
        await bed.until(lambda: bed.container().get("restartCount") == 1)

    assert ("other:1", "r/other:1@sha256:2") == (
        bed.container()["image"],
        bed.container()["imageID"],
    )
    killing = [event.message for _, event in bed.events.emitted if event.reason == "Killing"]
    assert killing == ["Container main definition changed, will be restarted"]


async def test_logs_are_kept_of_two_attempts(bed: Bed) -> None:
    """Of the newest and the one before it, for `kubectl logs --previous`."""
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        bed.apply(_of_image(bed, "other:1"))
        await bed.until(lambda: bed.container().get("restartCount") == 1)
        bed.apply(pod())
        await bed.until(lambda: bed.container().get("restartCount") == 2)

    assert [1] == list(bed.logs.oldest.values())


async def test_an_image_changed_while_no_agent_ran_is_noticed(bed: Bed) -> None:
    """By what the attempt was made of; what was not changed is left alone."""
    bed.apply(pod(), pod("same"))
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready") and bed.container("same").get("ready"))

    bed.pods = localpods.LocalPods()
    bed.apply(_of_image(bed, "other:1"), pod("same"))
    async with bed.running():
        await bed.until(lambda: bed.container().get("restartCount") == 1)
        await bed.until(lambda: bed.container("same").get("ready"))

    assert (0, "hello:1") == (bed.container("same")["restartCount"], bed.container("same")["image"])


async def test_what_is_stopped_for_another_image_is_begun_by_the_next_agent(bed: Bed) -> None:
    """It has ended well by itself under Never, and is begun all the same."""
    stop = bed.containers.stop

    async def slow(attempt: records.AttemptId, *, grace_s: float) -> None:
        assert grace_s == 30.0

    bed.containers.stop = slow  # type: ignore[method-assign]  # a guest that uses its grace
    bed.apply(pod())
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        bed.apply(_of_image(bed, "other:1"))
        await bed.until(lambda: "Killing" in bed.events.reasons())
    bed.containers.end(attempt(), 0)
    bed.containers.stop = stop  # type: ignore[method-assign]  # as it was

    bed.pods = localpods.LocalPods()
    bed.apply(_of_image(bed, "other:1"))
    async with bed.running():
        await bed.until(lambda: bed.container().get("restartCount") == 1)

    assert bed.container()["lastState"]["terminated"]["exitCode"] == 0


async def test_a_wrong_image_that_is_corrected_is_pulled_at_once(bed: Bed) -> None:
    """Neither its back-off nor a pull under way holds up what is wanted now."""
    pull = bed.puller.pull

    async def stalls(reference_text: str, **fields: Any) -> image.Image:
        if reference_text == "stalls:1":
            await asyncio.get_running_loop().create_future()
        return await pull(reference_text, **fields)

    bed.puller.pull = stalls  # type: ignore[method-assign]  # a registry that stalls
    bed.apply(
        pod(containers=[{"name": "main", "image": "nosuch:1"}]),
        pod("q", containers=[{"name": "main", "image": "stalls:1"}]),
    )
    async with bed.running():
        await bed.until(lambda: "Failed" in bed.events.reasons())
        await bed.until(lambda: bed.events.reasons().count("Pulling") == 2)
        bed.apply(pod(), pod("q"))
        await bed.until(lambda: bed.container().get("ready") and bed.container("q").get("ready"))

    assert ["hello:1", "hello:1"] == [bed.container(each)["image"] for each in ("p", "q")]


RULES = thresholds.Rules(thresholds.parse({"memory.available": "100Mi"}, {}, {}, {}))


def _short_of_memory(bed: Bed, *names: str) -> None:
    bed.resources.memory = messages.Level(50 << 20, 1 << 30)
    bed.resources.used = [messages.Share(attempt(name), 9 << 20, 1) for name in names]


async def test_an_eviction_outlives_the_agent(bed: Bed) -> None:
    """Killed before the pod was told to end, its successor goes on with it."""
    wanted = pod(restartPolicy="Always")
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
    stop = bed.containers.stop
    told = asyncio.Event()

    async def deaf(*_: object, **__: object) -> None:
        told.set()
        await asyncio.get_running_loop().create_future()

    bed.containers.stop = deaf  # type: ignore[method-assign]  # it is killed meanwhile
    _short_of_memory(bed, "p")
    bed.pods = localpods.LocalPods()
    bed.apply(wanted)
    async with bed.running(RULES):
        await told.wait()

    bed.containers.stop = stop  # type: ignore[method-assign]
    bed.resources = FakeResources()
    bed.pods = localpods.LocalPods()
    bed.apply(wanted)
    async with bed.running(RULES):
        status = await bed.pods.over(ids.pod_uid("uid-p"))

    conditions = {each["type"]: each.get("reason") for each in status["conditions"]}
    assert ("Failed", "Evicted") == (status["phase"], status["reason"])
    assert conditions["DisruptionTarget"] == "TerminationByKubelet"
    assert len(bed.containers.specs) == 1


async def test_under_pressure_new_pods_are_refused(bed: Bed) -> None:
    """With the kubelet's reason and words; what asks for memory may come."""
    bed.node = cluster.FakeNode.standing()
    _short_of_memory(bed)
    memory = {"resources": {"requests": {"memory": "1Mi"}}}
    asking = pod("asking", containers=[{"name": "main", "image": "hello:1", **memory}])
    async with bed.running(RULES) as made:
        await bed.until(lambda: made.health)
        bed.apply(pod(), asking)
        await bed.until(lambda: bed.container("asking").get("ready"))
        status = await bed.pods.over(ids.pod_uid("uid-p"))
        health = made.health

    assert health is not None
    assert health.pressures == frozenset({"MemoryPressure"})
    assert ("Failed", "Evicted") == (status["phase"], status["reason"])
    why = "The node had condition: [MemoryPressure]. "
    assert status["message"] == f"Pod was rejected: {why}"
    assert ("Evicted", why) in bed.events.told("p")
    assert ["asking"] == [each.pod_name for each in bed.containers.specs]


async def test_a_pod_that_cannot_be_judged_waits(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node cannot be read now; once it can, it runs or has Failed."""
    monkeypatch.setattr(reconcile, "_RETRY_S", 0.01)
    bed.node = cluster.FakeNode.standing(disk="ssd")
    bed.node.answers = False
    asking = [pod(each, nodeSelector={"disk": each}) for each in ("ssd", "hdd")]
    bed.apply(pod(), *asking)
    async with bed.running():
        await bed.until(lambda: bed.node and bed.node.refused > 5)
        waiting = [bed.container(each) for each in ("ssd", "hdd")], bed.events.reasons()
        bed.node.answers = True
        await bed.until(lambda: bed.container("ssd").get("ready"))
        failed = await bed.pods.over(ids.pod_uid("uid-hdd"))

    (told,) = bed.events.told("hdd")
    assert waiting == ([{}, {}], [])
    assert (failed["phase"], failed["reason"]) == ("Failed", "NodeAffinity")
    assert told[0] == "NodeAffinity"
    assert failed["message"] == f"Pod was rejected: {told[1]}"
    assert {"p", "ssd"} == {each.pod_name for each in bed.containers.specs}


class _SlowNode(cluster.FakeNode):
    """One that nobody can read for as long as the API server hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.answer = asyncio.Event()

    async def read(self, *, fresh: bool) -> manifest.Node:
        """Read it, fresh ones late."""
        if fresh:
            self.asked += 1
            await self.answer.wait()
            await asyncio.sleep(0)  # as whatever comes over a network
        return await super().read(fresh=fresh)


async def test_pods_that_cannot_be_judged_keep_nobody_waiting(bed: Bed) -> None:
    """However many there are: others come, are restarted, and go."""
    bed.node = slow = _SlowNode.standing()
    bed.apply(pod(restartPolicy="Always"))
    other = [pod(f"other{number}", nodeSelector={"disk": "ssd"}) for number in range(100)]
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        bed.apply(pod(restartPolicy="Always"), *other)
        await bed.until(lambda: slow.asked)
        await settle()
        bed.containers.end(attempt(), 3)
        bed.apply(pod(restartPolicy="Always"), *other, pod("late"))
        async with asyncio.timeout(5):
            await bed.until(lambda: bed.container().get("restartCount") == 1)
            await bed.until(lambda: bed.container("late").get("ready"))
        slow.answer.set()
        failed = [await bed.pods.over(each.ref.uid) for each in other]

    assert {each["reason"] for each in failed} == {"NodeAffinity"}
    assert slow.asked <= 2


async def test_what_has_begun_is_not_judged_again(bed: Bed) -> None:
    """A pod that its node does not match any more is adopted all the same."""
    bed.node = cluster.FakeNode.standing(disk="ssd")
    wanted = pod(nodeSelector={"disk": "ssd"}, restartPolicy="Always")
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))

    bed.node, bed.pods = cluster.FakeNode.standing(), localpods.LocalPods()
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))

    assert len(bed.containers.specs) == 1


async def test_a_command_after_the_start(bed: Bed) -> None:
    """Until it is done the container has not begun; it has no time limit."""
    hook = {"postStart": {"exec": {"command": ["warm", "up"]}}}
    container = {"name": "main", "image": "hello:1", "lifecycle": hook}
    bed.commands.gate.clear()
    bed.apply(pod(containers=[container]))
    async with bed.running():
        await bed.until(lambda: bed.commands.run)
        before = bed.container().get("ready")
        bed.commands.gate.set()
        await bed.until(lambda: bed.container().get("ready"))

    assert not before
    assert bed.commands.run == [(("warm", "up"), attempt())]


async def test_the_next_agent_calls_a_hook_that_was_not_done(bed: Bed) -> None:
    """Until then the container has not begun; and a third has nothing to do."""
    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    container = {"name": "main", "image": "hello:1", "lifecycle": hook}
    bed.commands.gate.clear()
    wanted = pod(containers=[container])
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.commands.run)
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: len(bed.commands.run) == 2)
        before = bed.container().get("ready")
        bed.commands.gate.set()
        await bed.until(lambda: bed.container().get("ready"))
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))
        await settle()

    assert not before
    assert [which for _, which in bed.commands.run] == [attempt(), attempt()]


async def test_a_hook_that_the_next_agent_cannot_read_holds_nothing_up(bed: Bed) -> None:
    """After a step back to an older version the container counts as begun."""
    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    container = {"name": "main", "image": "hello:1"}
    bed.commands.gate.clear()
    bed.apply(pod(containers=[container | {"lifecycle": hook}]))
    async with bed.running():
        await bed.until(lambda: bed.commands.run)
    bed.apply(pod(containers=[container]))
    async with bed.running():
        await bed.until(lambda: bed.container().get("ready"))

    assert len(bed.containers.specs) == len(bed.commands.run) == 1


class _Gated(localpods.LocalPods):
    """Pods whose ConfigMaps come one by one, when each is let."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.let = {name: asyncio.Event() for name in names}

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """Wait, and return an empty one."""
        self.asked.append(name)
        await self.let[name].wait()
        return {}


async def test_a_hook_is_called_while_another_container_waits(bed: Bed) -> None:
    """Right after the start that it is of, whatever holds up the next one."""
    gated = bed.pods = _Gated("first", "last")

    def container(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "image": "hello:1", **more}

    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    first, last = (container(x, envFrom=[{"configMapRef": {"name": x}}]) for x in gated.let)
    bed.apply(pod(containers=[first, container("main", lifecycle=hook), last]))
    async with bed.running():
        await bed.until(lambda: gated.asked == ["first"])
        await bed.until(lambda: len(bed.containers.prepared) == 3)
        await settle()  # so that both others are begun by one plan
        gated.let["first"].set()
        await bed.until(lambda: gated.asked == ["first", "last"])
        await settle()
        called = list(bed.commands.run)
        gated.let["last"].set()
        await bed.until(lambda: len(bed.containers.specs) == 3)

    assert [which.container for _, which in called] == ["main"]


class _Late(localpods.LocalPods):
    """Pods of which nobody hears that they are gone."""

    async def remove(self, pod: ids.PodRef) -> None:
        """Say that it is done, and nothing else."""


async def test_a_hook_that_is_done_after_its_pod_leaves_nothing(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    """As a watch may be cut, it is not yet heard that the pod is gone."""
    caplog.set_level(logging.INFO)
    bed.pods = _Late()
    bed.commands.outcomes["warm"] = probe.Failed("it has ended")
    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    bed.commands.gate.clear()
    bed.apply(pod(containers=[{"name": "main", "image": "hello:1", "lifecycle": hook}]))
    left = bed.directory.pod("uid-p")
    async with bed.running():
        await bed.until(lambda: bed.commands.run)
        before = left.exists()
        bed.pods.delete(ids.pod_uid("uid-p"), grace_s=0)
        await bed.until(lambda: "is gone" in caplog.text)
        bed.commands.gate.set()
        await bed.until(lambda: "FailedPostStartHook" in bed.events.reasons())
    await asyncio.get_running_loop().shutdown_default_executor()  # all is written

    assert (before, left.exists()) == (True, False)


async def test_a_hook_that_failed_has_failed_for_the_next_agent(bed: Bed) -> None:
    """What was to be ended for that is ended, and is asked nothing more."""
    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    container = {"name": "main", "image": "hello:1", "lifecycle": hook}
    bed.commands.outcomes["warm"] = probe.Failed("no")
    bed.commands.gate.clear()
    wanted = pod(containers=[container])
    bed.apply(wanted)
    async with bed.running():
        await bed.until(lambda: bed.commands.run)
        bed.containers.away = True
        bed.commands.gate.set()
        await bed.until(lambda: "Killing" in [event.reason for _, event in bed.events.emitted])
    bed.containers.away = False
    bed.apply(wanted)
    async with bed.running():
        status = await bed.pods.over(ids.pod_uid("uid-p"))

    assert status["phase"] == "Failed"
    assert len(bed.commands.run) == 1


async def test_a_hook_that_is_late_is_of_its_own_attempt_only(bed: Bed) -> None:
    """The attempt after it has not begun before its own hook is done."""
    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    container = {"name": "main", "image": "hello:1", "lifecycle": hook}
    bed.commands.gate.clear()
    bed.apply(pod(containers=[container], restartPolicy="Always"))
    async with bed.running():
        await bed.until(lambda: bed.commands.run)
        first, bed.commands.gate = bed.commands.gate, asyncio.Event()
        bed.containers.end(attempt(), 1)
        await bed.until(lambda: len(bed.commands.run) == 2)
        first.set()
        await settle()
        before = bed.container().get("ready")
        bed.commands.gate.set()
        await bed.until(lambda: bed.container().get("ready"))

    assert not before
    assert [which.attempt for _, which in bed.commands.run] == [0, 1]


async def test_a_command_after_the_start_that_fails(bed: Bed) -> None:
    """The container is ended, in the kubelet's words."""
    hook = {"postStart": {"exec": {"command": ["warm"]}}}
    container = {"name": "main", "image": "hello:1", "lifecycle": hook}
    bed.commands.outcomes["warm"] = probe.Failed("a secret")
    bed.apply(pod(containers=[container]))
    async with bed.running():
        status = await bed.pods.over(ids.pod_uid("uid-p"))
        await settle()

    told = [(event.reason, event.message) for _, event in bed.events.emitted[-2:]]
    assert told == [
        ("FailedPostStartHook", "PostStartHook failed"),
        ("Killing", "FailedPostStartHook"),
    ]
    assert status["phase"] == "Failed"


async def test_hooks_are_called_when_the_node_shuts_down(bed: Bed) -> None:
    """Before the stop that the runtime waits for, and within its time."""
    hook = {"preStop": {"httpGet": {"port": 80, "path": "/bye"}}}
    main = {"name": "main", "image": "hello:1", "lifecycle": hook}
    bed.apply(pod(containers=[main], restartPolicy="Always"))
    async with bed.running():
        await bed.until(lambda: bed.container().get("state", {}).get("running"))
        bed.containers.shut_down(attempt(), stop_by=clock.SystemClock().now() + 9.0)
        await bed.until(lambda: bed.containers.stops)

    ((stopped, left_s),) = bed.containers.stops
    (spec,) = bed.containers.specs
    assert [check.path for check, _ in bed.prober.called] == ["/bye"]
    assert stopped == attempt()
    assert 8.0 < left_s <= 9.0
    assert bed.events.told("p").count(("Killing", "Stopping container main")) == 1
    assert (spec.pre_stop_s, spec.stop_grace_s) == (30.0, 0.0)


async def test_a_node_that_shuts_down_and_comes_back(bed: Bed) -> None:
    """It takes no pod and restarts none; then what it had goes on."""
    bed.node = cluster.FakeNode.standing()
    bed.apply(pod(restartPolicy="Always"))
    async with bed.running() as made:
        await bed.until(lambda: bed.container().get("state", {}).get("running"))
        await bed.until(lambda: made.health)
        bed.containers.shut_down(attempt())
        bed.containers.end(attempt(), 143, records.EndedBy.SHUTDOWN)
        await bed.until(lambda: bed.container().get("state", {}).get("terminated"))
        bed.apply(pod(restartPolicy="Always"), pod("late"))
        late = await bed.pods.over(ids.pod_uid("uid-late"))
        assert made.health is not None
        problem = made.health.problem
        before = len(bed.containers.specs)
        bed.containers.reconnect()
        await bed.until(lambda: bed.container().get("restartCount") == 1)

    assert ("Failed", "NodeShutdown") == (late["phase"], late["reason"])
    why = "Pod was rejected as the node is shutting down."
    assert late["message"] == f"Pod was rejected: {why}"
    assert bed.events.told("late") == [("NodeShutdown", why)]
    assert problem == "node is shutting down"
    assert bed.events.told("p").count(("Killing", "Stopping container main")) == 1
    assert before == 1
    assert [attempt(), attempt(number=1)] == [each.id for each in bed.containers.specs]


async def test_an_agent_goes_after_a_runtime_that_ends(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before it has told how the pods ended."""
    monkeypatch.setattr(presence, "BACK_S", 0.01)
    bed.apply(pod())
    async with bed.running() as made:
        await bed.until(lambda: bed.container().get("state", {}).get("running"))
        bed.containers.shut_down()
        async with asyncio.TaskGroup() as group:
            going = group.create_task(made.see_off())
            bed.containers.end(attempt(), 143, records.EndedBy.SHUTDOWN)
            await settle()
            early = going.done()
            bed.containers.disconnect()
        told = bed.pods.status(ids.pod_uid("uid-p")) or {}

    assert not early
    assert (told["phase"], told["reason"]) == ("Failed", "Terminated")


async def test_an_agent_that_goes_tries_again_to_tell(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails is made up for, and events are written, before."""
    monkeypatch.setattr(presence, "BACK_S", 0.01)
    bed.pods = flaky = _FailsOnce()
    bed.apply(pod())
    async with bed.running() as made:
        await bed.until(lambda: bed.container().get("state", {}).get("running"))
        bed.containers.shut_down()
        flaky.fails = True
        bed.containers.end(attempt(), 143, records.EndedBy.SHUTDOWN)
        await bed.until(lambda: not flaky.fails)
        bed.containers.disconnect()
        await made.see_off()
        told = bed.container()["state"]

        bed.events.busy = True
        async with asyncio.TaskGroup() as group:
            going = group.create_task(made.see_off())
            await asyncio.wait([going], timeout=0.1)
            early = going.done()
            bed.events.busy = False

    assert told["terminated"]["exitCode"] == 143
    assert not early


async def test_an_agent_that_goes_does_not_try_for_ever(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be no API server any more."""
    monkeypatch.setattr(presence, "BACK_S", 0.01)
    monkeypatch.setattr(engine, "_LAST_WORDS_S", 0.01)
    bed.events.busy = True
    async with bed.running() as made:
        await bed.until(lambda: made.runtime.is_here)
        bed.containers.shut_down()
        bed.containers.disconnect()
        await bed.until(lambda: made.runtime.is_ending and not made.runtime.is_here)
        await made.see_off()
        tried = bed.events.busy

    assert tried


RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
HOOK = {"preStop": {"exec": {"command": ["/bye"]}}}


def _resetting() -> desired.DesiredPod:
    """Return a pod that an exit code of its first container resets."""
    own = {"restartPolicy": "Never", "restartPolicyRules": [RULE]}
    containers = [
        {"name": "main", "image": "hello:1", **own},
        {"name": "other", "image": "hello:1", "lifecycle": HOOK},
    ]
    return pod(containers=containers, initContainers=[{"name": "init", "image": "hello:1"}])


def _of(name: str, number: int) -> records.AttemptId:
    return records.AttemptId("uid-p", name, number)


def _begun(bed: Bed) -> set[records.AttemptId]:
    return {each.id for each in bed.containers.specs}


async def _begin(bed: Bed, number: int) -> None:
    """Let the init container end well, and wait for the others."""
    await bed.until(lambda: _of("init", number) in _begun(bed))
    bed.containers.end(_of("init", number), 0)
    both = {_of("main", number), _of("other", number)}
    await bed.until(lambda: both <= _begun(bed))


async def test_an_exit_code_restarts_all_containers(bed: Bed) -> None:
    """
    The others end without a hook, and all begins again with the first.

    Its other one had the two seconds that a kubelet gives it (killContainer).
    """
    bed.apply(_resetting())
    async with bed.running():
        await _begin(bed, 0)
        bed.containers.end(_of("main", 0), 42)
        await _begin(bed, 1)
        bed.containers.end(_of("main", 1), 0)
        bed.containers.end(_of("other", 1), 0)
        status = await bed.pods.over(ids.pod_uid("uid-p"))

    told = {each["name"]: each for each in status["containerStatuses"]}
    ends = {name: each["lastState"]["terminated"] for name, each in told.items()}
    (init,) = status["initContainerStatuses"]
    assert status["phase"] == "Succeeded"
    assert [(_of("other", 0), 2.0)] == bed.containers.stops
    assert [] == bed.commands.run
    assert ("Killing", "killing") in bed.events.told("p")
    assert [1, 1, 1] == [each["restartCount"] for each in (*told.values(), init)]
    assert (42, "Error") == (ends["main"]["exitCode"], ends["main"]["reason"])
    assert (137, "RestartingAllContainers") == (ends["other"]["exitCode"], ends["other"]["reason"])
    assert [0, 0] == [init[each]["terminated"]["exitCode"] for each in ("state", "lastState")]


async def test_a_new_agent_goes_on_with_a_restart_of_all(bed: Bed) -> None:
    """Killed while the others end, it restarts them, and all of them once."""
    asked: list[records.AttemptId] = []
    stop = bed.containers.stop

    async def slow(attempt: records.AttemptId, *, grace_s: float) -> None:
        asked.append(attempt)

    bed.containers.stop = slow  # type: ignore[method-assign]  # one that ends late
    bed.apply(_resetting())
    async with bed.running():
        await _begin(bed, 0)
        bed.containers.end(_of("main", 0), 42)
        await bed.until(lambda: asked)
    bed.containers.stop = stop  # type: ignore[method-assign]  # as it was
    bed.pods = localpods.LocalPods()
    bed.apply(_resetting())
    async with bed.running():
        await _begin(bed, 1)

    assert {_of("other", 0)} == set(asked)
    assert [(_of("other", 0), 2.0)] == bed.containers.stops
    assert len(bed.containers.specs) == 6
