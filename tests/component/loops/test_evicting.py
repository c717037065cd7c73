"""
Eviction with real guests, a real runtime, and a real control group around it.

The kernel's own counts of the group are the truth: whether it had to kill, and
how much memory there ever was in use.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.component.runtime import running
from tests.fakes import cluster
from tests.fakes.commands import FakeCommands
from tests.fakes.images import FakeImages
from tests.fakes.prober import FakeProber
from tests.fakes.puller import FakePuller
from tests.fakes.workers import FakeWorkers
from tests.wasm import guests
from wasm_node.agent import engine, statedir
from wasm_node.agent.asynckit import clock
from wasm_node.agent.files import localpods, manifests
from wasm_node.agent.host import figures
from wasm_node.agent.logs import store
from wasm_node.agent.loops import evicting
from wasm_node.agent.model import ids, image, parsing, thresholds
from wasm_node.protocol import layout, messages
from wasm_node.runtime.limits import groups, hierarchies

MIB = 1 << 20
LIMIT = 320 * MIB
WITHIN_S = 50
pytestmark = pytest.mark.timeout(60)  # guests that take their memory slowly
HARD = thresholds.Rules(thresholds.parse({"memory.available": "100Mi"}, {}, {}, {}))


class Group:
    """A memory group with a limit, below that of the tests."""

    def __init__(self) -> None:
        texts = [Path(f"/proc/self/{name}").read_text() for name in ("cgroup", "mountinfo")]
        own = hierarchies.controllers(*texts)["memory"]
        self.path = own / f"wn-evicting-{uuid.uuid4().hex[:8]}"
        self.path.mkdir()
        (self.path / "memory.limit_in_bytes").write_text(str(LIMIT))

    @property
    def words(self) -> list[str]:
        """What runs a command in the group."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs; exec "$@"', "sh"]

    @property
    def most_bytes(self) -> int:
        """How much was ever in use, files included."""
        return int((self.path / "memory.max_usage_in_bytes").read_text())

    @property
    def kills(self) -> int:
        """How often the kernel had to kill in it."""
        return groups.count(self.path / "memory.oom_control", "oom_kill")


@pytest.fixture
def group() -> Iterator[Group]:
    """Give a group; it is empty again when the test has ended its runtime."""
    made = Group()
    yield made
    running.until(lambda: not _rest(made.path), "nothing is left in the group")
    made.path.rmdir()


def _rest(path: Path) -> list[str]:
    return [line for file in path.rglob("cgroup.procs") for line in file.read_text().split()]


class Bed:
    """Pods of a real runtime."""

    def __init__(self, runtime: running.RunningRuntime) -> None:
        self.runtime = runtime
        self.pods = localpods.LocalPods()
        self.events = cluster.FakeEvents()
        self.directory = statedir.StateDir(
            runtime.settings.state, runtime.settings.run, runtime.settings.logs
        )
        self.directory.make()
        self.logs = store.CriLogStore(runtime.settings.logs)
        images = {name: _image(name) for name in ("hold", "sleep")}
        self.puller = FakePuller(images)
        self.full_by: Path | None = None
        """The disk is full as long as this is there."""

    def apply(self, name: str, guest: str, *args: str, **spec: Any) -> ids.PodUid:
        """Want a pod of one container."""
        main = {"name": "main", "image": guest, "args": list(args), **spec.pop("main", {})}
        raw = {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"containers": [main], "restartPolicy": "Always", **spec},
        }
        self.pods.apply(manifests.Manifests((parsing.pod(raw),), {}))
        return ids.pod_uid(f"uid-{name}")

    @contextlib.asynccontextmanager
    async def node(self, rules: thresholds.Rules) -> AsyncIterator[engine.PodEngine]:
        """Run the agent's part for the length of the context."""
        containers = self.runtime.containers
        outside = engine.Outside(
            source=self.pods,
            sink=self.pods,
            events=self.events,
            puller=self.puller,
            containers=containers,
            resources=containers,
            logs=self.logs,
            prober=FakeProber(),
            commands=FakeCommands(),
            workers=FakeWorkers(),
            clock=clock.SystemClock(),
            progress=lambda *_: None,
            ended=lambda *_: None,
            node=cluster.FakeNode.standing(),
            eviction=evicting.Sources(rules, containers, self._disk, FakeImages()),
        )
        place = engine.Place("wasm-a", "10.0.0.1")
        made = engine.PodEngine(outside, self.directory, place)
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            task = group.create_task(made.run())
            yield made
            task.cancel()

    def _disk(self) -> tuple[messages.Level, messages.Level]:
        full = self.full_by is not None and self.full_by.exists()
        return messages.Level(5 if full else 50, 100), figures.disk(self.directory.state)[1]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Return once it holds."""
        while not condition():
            await asyncio.sleep(0.01)

    def phase(self, uid: ids.PodUid) -> str:
        """Return a pod's phase as written last."""
        return str((self.pods.status(uid) or {}).get("phase", ""))

    def holds(self, uid: ids.PodUid, mib: int) -> bool:
        """Say whether a guest `hold` has come so far."""
        logs = self.directory.logs.glob(f"*_{uid}/main/0.log")
        return any(each.read_text().endswith(f" {mib}\n") for each in logs)


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Give a bed without a limit."""
    with running.runtime() as runtime:
        yield Bed(runtime)


@pytest.fixture
def small(group: Group) -> Iterator[Bed]:
    """Give a bed in the group."""
    with running.runtime(group.words) as runtime:
        yield Bed(runtime)


def _image(guest: str) -> image.Image:
    path = guests.path(guest)
    digest = ids.Digest(running.digest(path))
    return image.Image(guest, f"r/{guest}@{digest}", "A", 1, path, digest, None)


def _asking(memory: str) -> dict[str, Any]:
    return {"main": {"resources": {"requests": {"memory": memory}}}}


async def test_eviction_comes_before_the_kernel(small: Bed, group: Group) -> None:
    """Who takes too much goes; the limit is not reached, and no pod suffers."""
    async with small.node(HARD) as node:
        modest = [small.apply(f"m{n}", "hold", "20", **_asking("40Mi")) for n in range(2)]
        await small.until(lambda: all(small.holds(each, 20) for each in modest))
        greedy = small.apply("greedy", "hold", "1000", "40")  # 3 s from threshold to limit
        status = await small.pods.over(greedy)
        conditions = node.health.pressures if node.health else None
        phases = [small.phase(each) for each in modest]
    known = await small.runtime.containers.listed()

    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert "The node was low on resource: memory. Threshold quantity: 100Mi" in status["message"]
    assert "Container main was using " in status["message"]
    assert conditions == frozenset({"MemoryPressure"})
    assert phases == ["Running", "Running"]
    assert {each.id.attempt for each in known} == {0}
    assert group.kills == 0
    assert group.most_bytes < LIMIT - 20 * MIB
    assert small.events.reasons().count("Evicted") == 1


async def test_without_eviction_the_kernel_comes(small: Bed, group: Group) -> None:
    """The same pod under the same limit: what the test before is a test of."""
    async with small.node(thresholds.OFF):
        small.apply("greedy", "hold", "1000", "5")
        await small.until(lambda: group.kills)

    assert group.most_bytes > LIMIT - 20 * MIB


async def test_the_disk_is_cleared_of_the_dead(bed: Bed) -> None:
    """The pod with the most on it goes; then its volumes and logs, too."""
    volumes = {"volumes": [{"name": "data", "emptyDir": {}}]}
    mounts = {"main": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}}
    rules = thresholds.Rules(thresholds.parse({"nodefs.available": "10%"}, {}, {}, {}))
    state = bed.directory.state
    async with bed.node(rules):
        small = bed.apply("small", "sleep", **volumes, **mounts)
        large = bed.apply("large", "sleep", **volumes, **mounts)
        await bed.until(lambda: {bed.phase(each) for each in (small, large)} == {"Running"})
        file = layout.volume(state, large, "data") / "file"
        file.write_bytes(b"x" * MIB)
        bed.full_by = file
        status = await bed.pods.over(large)
        await bed.until(lambda: not list(bed.directory.logs.glob(f"*_{large}")))
        gone = not layout.volumes(state, large).exists()
        kept = bed.phase(small), layout.volume(state, small, "data").exists()

    assert status["reason"] == "Evicted"
    assert "ephemeral-storage. Threshold quantity: 10, available: 5. " in status["message"]
    assert gone
    assert kept == ("Running", True)
    assert bed.events.reasons().count("Evicted") == 1


async def test_last_words_without_end_count_as_the_pods(bed: Bed) -> None:
    """Who fills the disk with them goes when it is full; so do they."""
    rules = thresholds.Rules(thresholds.parse({"nodefs.available": "10%"}, {}, {}, {}))
    state = bed.directory.state
    async with bed.node(rules):
        quiet, talker = bed.apply("quiet", "sleep"), bed.apply("talker", "sleep")
        await bed.until(lambda: {bed.phase(each) for each in (quiet, talker)} == {"Running"})
        (words,) = layout.messages(state, talker)
        file = words / "termination-log"
        with file.open("ab") as opened:  # as the guest may: it is its user's
            opened.write(b"x" * MIB)
        bed.full_by = file
        status = await bed.pods.over(talker)
        await bed.until(lambda: not file.exists())

    assert status["reason"] == "Evicted"
    assert bed.phase(quiet) == "Running"
