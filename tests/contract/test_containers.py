"""What every Containers promises: the fake and the real runtime's client."""

import asyncio
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.component.runtime import running
from tests.fakes.containers import FakeContainers
from tests.wasm import guests
from wasm_node.agent import errors, interfaces
from wasm_node.agent.asynckit import clock
from wasm_node.agent.model import ids, image, observed
from wasm_node.protocol import records, settings
from wasm_node.protocol.records import EndedBy

Made = tuple[interfaces.Containers, Callable[..., records.ContainerSpec]]
WITHIN_S = 15.0


@pytest.fixture(scope="module", params=running.ENGINES)
def runtime(request: pytest.FixtureRequest) -> Iterator[running.RunningRuntime]:
    """Return a real runtime; pods of different names tell the tests apart."""
    with running.runtime(engine=request.param) as made:
        yield made


@pytest.fixture(params=["fake", "real"])
def made(request: pytest.FixtureRequest, runtime: running.RunningRuntime) -> Made:
    """Return Containers, and how to describe a guest that sleeps for ever."""
    if request.param == "real":
        return runtime.containers, runtime.spec
    fake = FakeContainers()
    bad = running.digest(guests.path("missing"))
    fake.cannot_prepare[bad] = errors.BadInput("imports env.nope", reason="MissingImport")
    fake.executes = _like_the_guests
    return fake, runtime.spec


async def _like_the_guests(
    program: image.Program, _export: str, streams: interfaces.Streams
) -> int:
    match program.argv:
        case ("exit", code):
            return int(code)
        case ("echo", text):
            os.write(streams.stdout, f"{text}\n".encode())
            return 0
        case _:
            os.write(streams.stdout, b"n 0")
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return the ends of a pipe: where to read, where to write."""
    ends = os.pipe()
    yield ends
    for each in ends:
        os.close(each)


def _streams(pipe: tuple[int, int]) -> interfaces.Streams:
    return interfaces.Streams(pipe[0], pipe[1], pipe[1])


async def _end_of(containers: interfaces.Containers, attempt: records.AttemptId) -> observed.Ended:
    async with asyncio.timeout(WITHIN_S):
        async for news in containers.facts():
            for fact in observed.facts(news):
                if isinstance(fact, observed.Ended) and fact.id == attempt:
                    return fact
    raise AssertionError("facts end never")


async def _list_of(containers: interfaces.Containers) -> list[observed.Fact]:
    async with asyncio.timeout(WITHIN_S):
        news = await anext(aiter(containers.facts()))
    assert isinstance(news, Sequence)
    return list(news)


async def test_a_start_is_asked_for_twice(made: Made) -> None:
    """The same attempt again is the same process, not a second one."""
    containers, spec = made
    wanted = spec("sleep", pod="twice")

    assert await containers.start(wanted) == await containers.start(wanted)


async def test_facts_begin_with_all_there_is(made: Made) -> None:
    """The first thing facts yield is a list that names what runs."""
    containers, spec = made
    running_ = await containers.start(spec("sleep", pod="there"))

    assert running_ in await _list_of(containers)


async def test_a_stop_becomes_a_fact(made: Made) -> None:
    """A stopped attempt arrives as ended by a stop, with 143."""
    containers, spec = made
    wanted = spec("sleep", pod="stopped")
    await containers.start(wanted)
    await containers.stop(wanted.id, grace_s=0.0)
    ended = await _end_of(containers, wanted.id)

    assert (143, EndedBy.STOP) == (ended.exit.code, ended.exit.ended_by)
    assert ended.finished_at >= ended.started_at


async def test_a_stop_of_nothing_is_fine(made: Made) -> None:
    """What never ran, or has ended, may be stopped."""
    containers, spec = made
    wanted = spec("sleep", pod="over")
    await containers.stop(wanted.id, grace_s=0.0)
    await containers.start(wanted)
    await containers.stop(wanted.id, grace_s=0.0)
    await _end_of(containers, wanted.id)
    await containers.stop(wanted.id, grace_s=0.0)


async def test_an_ended_attempt_never_runs_again(made: Made) -> None:
    """A start of what has ended says when it ran, and it stays ended."""
    containers, spec = made
    wanted = spec("sleep", pod="once")
    first = await containers.start(wanted)
    await containers.stop(wanted.id, grace_s=0.0)
    ended = await _end_of(containers, wanted.id)
    again = await containers.start(wanted)

    assert first == again
    assert ended in await _list_of(containers)


async def test_what_runs_is_not_forgotten(made: Made) -> None:
    """Forgetting waits for the end; then nothing is known any more."""
    containers, spec = made
    wanted = spec("sleep", pod="memory")
    await containers.start(wanted)
    with pytest.raises(errors.Retryable):
        await containers.forget(ids.pod_uid("memory"))
    await containers.stop(wanted.id, grace_s=0.0)
    await _end_of(containers, wanted.id)
    await containers.forget(ids.pod_uid("memory"))

    assert "memory" not in {each.id.pod_uid for each in await _list_of(containers)}
    await containers.forget(ids.pod_uid("memory"))


async def test_a_program_runs_beside_an_attempt(made: Made, pipe: tuple[int, int]) -> None:
    """It writes where it is told to, its code comes back; the streams stay."""
    containers, spec = made
    wanted = spec("sleep", pod="beside")
    await containers.start(wanted)
    async with asyncio.timeout(WITHIN_S):
        said = await containers.execute(
            wanted.id, running.command("echo", "hello"), export="", streams=_streams(pipe)
        )
        failed = await containers.execute(
            wanted.id, running.command("exit", "7"), export="", streams=_streams(pipe)
        )

    assert [(0, "Completed"), (7, "Error")] == [(x.code, x.reason) for x in (said, failed)]
    assert {EndedBy.ITSELF} == {said.ended_by, failed.ended_by}
    assert os.read(pipe[0], 100) == b"hello\n"


async def test_beside_nothing_nothing_runs(made: Made, pipe: tuple[int, int]) -> None:
    """An attempt that never ran, or has ended, is not found."""
    containers, spec = made
    wanted = spec("sleep", pod="alone")
    program = running.command("exit", "0")
    with pytest.raises(errors.NotFound) as never:
        await containers.execute(wanted.id, program, export="", streams=_streams(pipe))
    await containers.start(wanted)
    await containers.stop(wanted.id, grace_s=0.0)
    await _end_of(containers, wanted.id)
    with pytest.raises(errors.NotFound) as ended:
        await containers.execute(wanted.id, program, export="", streams=_streams(pipe))

    assert {"NotRunning"} == {never.value.reason, ended.value.reason}


async def test_what_cannot_run_beside_is_bad_input(made: Made, pipe: tuple[int, int]) -> None:
    """A program that lacks an import is refused as it would be at a start."""
    containers, spec = made
    wanted = spec("sleep", pod="unfit")
    await containers.start(wanted)
    with pytest.raises(errors.BadInput, match=r"env\.nope") as refused:
        await containers.execute(
            wanted.id, running.command("missing"), export="", streams=_streams(pipe)
        )

    assert refused.value.reason == "MissingImport"


async def test_what_runs_beside_ends_with_its_attempt(made: Made, pipe: tuple[int, int]) -> None:
    """A stop of the attempt kills what runs beside it: 137, by the stop."""
    containers, spec = made
    wanted = spec("sleep", pod="together")
    await containers.start(wanted)
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
        beside = group.create_task(
            containers.execute(
                wanted.id, running.command("count", "1000"), export="", streams=_streams(pipe)
            )
        )
        await asyncio.to_thread(os.read, pipe[0], 1)
        await containers.stop(wanted.id, grace_s=0.0)
        await _end_of(containers, wanted.id)

    assert (137, EndedBy.STOP) == (beside.result().code, beside.result().ended_by)


async def test_what_nobody_waits_for_is_killed(made: Made) -> None:
    """Cancelled, it lets go of its streams; the attempt runs on."""
    containers, spec = made
    wanted = spec("sleep", pod="given-up")
    await containers.start(wanted)
    read_end, write_end = os.pipe()
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
        streams = interfaces.Streams(read_end, write_end, write_end)
        beside = group.create_task(
            containers.execute(
                wanted.id, running.command("count", "1000"), export="", streams=streams
            )
        )
        await asyncio.to_thread(os.read, read_end, 1)
        beside.cancel()
        os.close(write_end)
        while await asyncio.to_thread(os.read, read_end, 100):
            pass
    os.close(read_end)
    running_ = [each for each in await _list_of(containers) if each.id == wanted.id]

    assert [observed.Running] == [type(each) for each in running_]


async def test_what_cannot_run_is_bad_input(made: Made) -> None:
    """Prepare and start refuse a missing import with the same reason."""
    containers, spec = made
    path = guests.path("missing")
    with pytest.raises(errors.BadInput, match=r"env\.nope") as prepared:
        await containers.prepare(running.program(path))
    with pytest.raises(errors.BadInput, match=r"env\.nope") as started:
        await containers.start(spec("missing", pod="missing"))

    assert {"MissingImport"} == {prepared.value.reason, started.value.reason}
    assert "missing" not in {each.id.pod_uid for each in await _list_of(containers)}


async def test_preparing_again_is_fine(made: Made) -> None:
    """A module may be prepared often, and at the same time."""
    containers, _ = made
    wanted = running.program(guests.path("sleep"))
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(containers.prepare(wanted))
    await containers.prepare(wanted)


async def test_a_container_restarts_as_a_new_attempt(made: Made) -> None:
    """Attempts are told apart, and the one before is still known."""
    containers, spec = made
    for attempt in (0, 1):
        wanted = spec("sleep", pod="again", attempt=attempt)
        await containers.start(wanted)
        await containers.stop(wanted.id, grace_s=0.0)
        await _end_of(containers, wanted.id)
    known = {each.id.attempt for each in await _list_of(containers) if each.id.pod_uid == "again"}

    assert known == {0, 1}


async def test_it_says_what_pods_may_use(made: Made) -> None:
    """Once facts have come, the node's capacity is known, and is something."""
    containers, _ = made
    await _list_of(containers)
    room = containers.room()

    assert room is not None
    assert min(room.cpu_millis, room.memory_bytes, room.pids_max) > 0


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_what_was_meant_for_another_runtime_is_not_begun(kind: str) -> None:
    """Its successor's list may have been taken in by then, or not."""
    fake = FakeContainers()
    with running.runtime() as own:
        containers: interfaces.Containers = fake if kind == "fake" else own.containers
        wanted = own.spec("sleep", pod="late")

        async def listen() -> None:
            async for _ in containers.facts():
                pass

        async def known(*besides: str) -> str:
            while containers.life() in {"", *besides}:
                await asyncio.sleep(0.01)
            return containers.life()

        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            listening = group.create_task(listen())
            first = await known()
            if kind == "fake":
                fake.replace()
            else:
                await asyncio.to_thread(own.end)
                await asyncio.to_thread(own.start)
            with pytest.raises(errors.Outdated):
                await containers.start(wanted, life=first)
            second = await known(first)
            with pytest.raises(errors.Outdated):
                await containers.start(wanted, life=first)
            begun = await containers.start(wanted, life=second)
            listening.cancel()

    assert begun.id == wanted.id


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_being_away_is_news(kind: str, runtime: running.RunningRuntime) -> None:
    """A runtime that goes is told with a reason, and its return is a list."""
    fake = FakeContainers()
    containers: interfaces.Containers = fake if kind == "fake" else runtime.containers
    facts = aiter(containers.facts())
    async with asyncio.timeout(WITHIN_S):
        first = await anext(facts)
        if kind == "fake":
            fake.reconnect()
        else:
            await asyncio.to_thread(runtime.kill, "supervisor")
        away = await anext(facts)
        while isinstance(back := await anext(facts), observed.Away):
            pass

    assert isinstance(first, Sequence)
    assert isinstance(away, observed.Away)
    assert "cannot reach the runtime" in away.why
    assert isinstance(back, Sequence)


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_that_it_ends_is_news(kind: str) -> None:
    """Who has a hook is held, with a time; then it is away, as any other."""
    fake = FakeContainers()
    with running.runtime() as own:
        containers: interfaces.Containers = fake if kind == "fake" else own.containers
        own.end()
        shutdown = (settings.ShutdownGroup(0, 60.0),)
        own.settings = dataclasses.replace(own.settings, shutdown=shutdown)
        own.start()
        wanted = dataclasses.replace(own.spec("sleep"), pre_stop_s=30.0, stop_grace_s=0.0)
        await running.patiently(lambda: containers.start(wanted))
        now = clock.SystemClock().now()
        seen: list[observed.News] = []
        async with asyncio.timeout(WITHIN_S):
            async for news in containers.facts():
                seen.append(news)
                if len(seen) == 1 and kind == "fake":
                    fake.shut_down(wanted.id, stop_by=now + 30.0)
                elif len(seen) == 1:
                    assert own.process is not None
                    own.process.terminate()
                elif isinstance(news, observed.Running):
                    await containers.stop(wanted.id, grace_s=10.0)
                elif isinstance(news, observed.Ended):
                    break

    listed, ending, held, ended = seen
    assert isinstance(listed, Sequence)
    assert isinstance(ending, observed.Ending)
    assert isinstance(held, observed.Running)
    assert now + 29.0 < held.stop_by < now + 40.0
    assert held.shutdown
    assert isinstance(ended, observed.Ended)


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_that_it_ends_an_attempt_is_news_before_the_end(kind: str) -> None:
    """Where no hook has to be called: that it is told to end, and the end."""
    fake = FakeContainers()
    with running.runtime() as own:
        containers: interfaces.Containers = fake if kind == "fake" else own.containers
        wanted = dataclasses.replace(own.spec("sleep"), stop_grace_s=0.0)
        await running.patiently(lambda: containers.start(wanted))
        seen: list[observed.News] = []
        async with asyncio.timeout(WITHIN_S):
            async for news in containers.facts():
                seen.append(news)
                if len(seen) == 1 and kind == "fake":
                    fake.shut_down(wanted.id)
                    fake.end(wanted.id, 143, records.EndedBy.SHUTDOWN)
                elif len(seen) == 1:
                    assert own.process is not None
                    own.process.terminate()
                elif isinstance(news, observed.Ended):
                    break

    _, ending, told, ended = seen
    assert isinstance(ending, observed.Ending)
    assert isinstance(told, observed.Running)
    assert (told.shutdown, told.stop_by) == (True, 0.0)
    assert isinstance(ended, observed.Ended)
    assert ended.exit.ended_by is records.EndedBy.SHUTDOWN
