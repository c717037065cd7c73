"""What every Resources promises: the fake and the real runtime's client."""

import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.component.runtime import running
from tests.fakes.resources import FakeResources
from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import ids
from wasm_node.protocol import layout, messages, records

MIB = 1 << 20
Begin = Callable[[str], Awaitable[records.AttemptId]]
Made = tuple[interfaces.Resources, Begin, Callable[[records.AttemptId], Awaitable[None]]]


@pytest.fixture(scope="module", params=running.ENGINES)
def runtime(request: pytest.FixtureRequest) -> Iterator[running.RunningRuntime]:
    """Return a real runtime; pods of different names tell the tests apart."""
    with running.runtime(engine=request.param) as made:
        yield made


@pytest.fixture(params=["fake", "real"])
def made(request: pytest.FixtureRequest, runtime: running.RunningRuntime) -> Made:
    """
    Return Resources, and how to begin and end a guest.

    It holds 8 MiB of memory, and has a volume of 1 MiB and two files, and a
    file for its last words.
    """
    return _fake() if request.param == "fake" else _real(runtime)


def _fake() -> Made:
    fake = FakeResources()

    async def begin(pod: str) -> records.AttemptId:
        attempt = records.AttemptId(pod, "main", 0)
        uid = ids.pod_uid(pod)
        fake.used.append(messages.Share(attempt, 8 * MIB, 1))
        words = messages.DiskUse(4096, 2)
        fake.disks[uid] = messages.PodDisk({"data": messages.DiskUse(MIB, 3)}, {"main": words})
        fake.running.add(uid)
        return attempt

    async def end(attempt: records.AttemptId) -> None:
        fake.used = [each for each in fake.used if each.id != attempt]
        fake.running.discard(ids.pod_uid(attempt.pod_uid))

    return fake, begin, end


def _real(runtime: running.RunningRuntime) -> Made:
    async def begin(pod: str) -> records.AttemptId:
        volume = layout.volume(runtime.settings.state, pod, "data")
        words = layout.message(runtime.settings.state, records.AttemptId(pod, "main", 0))
        mounts = [
            records.Mount(str(volume), "/data", read_only=False),
            records.Mount(str(words), "/dev", read_only=False),
        ]
        plain = runtime.spec("hold", "8", pod=pod, mounts=mounts)
        spec = dataclasses.replace(plain, message_file="words")
        await runtime.started(spec)
        running.until(lambda: Path(spec.log_path).read_text().endswith(" 8\n"), "it has all")
        (volume / "large").write_bytes(b"x" * MIB)
        (volume / "below").mkdir()
        (volume / "below" / "linked").hardlink_to(volume / "large")
        return spec.id

    async def end(attempt: records.AttemptId) -> None:
        await runtime.containers.stop(attempt, grace_s=0.0)
        await runtime.ended(attempt)

    return runtime.containers, begin, end


async def test_less_is_left_than_there_is(made: Made) -> None:
    """Of memory and of tasks, some is left, and never more than all."""
    resources, _, _ = made
    for level in await resources.left():
        assert 0 < level.available <= level.capacity


async def test_what_runs_has_a_share(made: Made) -> None:
    """Memory that a guest has touched, and its threads; with its end, none."""
    resources, begin, end = made
    attempt = await begin("sharing")
    shares = {each.id: each for each in await resources.shares()}
    await end(attempt)
    after = {each.id for each in await resources.shares()}

    share = shares[attempt]
    assert 8 * MIB <= share.memory_bytes < 14 * MIB
    assert 1 <= share.tasks < 8
    assert attempt not in after


async def test_what_guests_write_is_measured(made: Made) -> None:
    """Blocks and inodes, a file with two names once; last words apart."""
    resources, begin, end = made
    attempt = await begin("measured")
    found = await resources.disk(ids.pod_uid("measured"))
    none = await resources.disk(ids.pod_uid("nobody"))
    await end(attempt)

    data = found.volumes["data"]
    assert list(found.volumes) == ["data"]
    assert MIB <= data.used_bytes < MIB + (1 << 16)
    assert dataclasses.replace(data, used_bytes=0) == messages.DiskUse(0, 3)
    assert {name: each.inodes for name, each in found.last_words.items()} == {"main": 2}
    assert none == messages.PodDisk()


async def test_volumes_of_the_dead_can_be_removed(made: Made) -> None:
    """Not before its end; then they are gone, and again is no error."""
    resources, begin, end = made
    attempt = await begin("released")
    uid = ids.pod_uid("released")
    with pytest.raises(errors.Retryable, match="still runs"):
        await resources.release(uid)
    kept = await resources.disk(uid)
    await end(attempt)
    for _ in range(2):
        await resources.release(uid)

    assert kept.volumes["data"].inodes == 3
    assert (await resources.disk(uid)).volumes == {}


async def test_code_of_modules_that_are_here_stays(made: Made) -> None:
    """Whether they run or not: nothing comes back, and they can run again."""
    resources, begin, end = made
    attempt = await begin("pruned")
    running = await resources.prune()
    await end(attempt)

    assert (running, await resources.prune()) == (0, 0)
