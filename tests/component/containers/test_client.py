"""The agent's end of the socket, with a real runtime at the other."""

import asyncio
import dataclasses
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.component.runtime import running
from wasm_node.agent import errors, statedir
from wasm_node.agent.containers import client, workers
from wasm_node.agent.logs import store
from wasm_node.agent.model import ids, observed
from wasm_node.protocol import framing, messages, records

_MOST_PIDS = 1 << 22  # the kernel's PID_MAX_LIMIT


@pytest.fixture
def own() -> Iterator[running.RunningRuntime]:
    """Return a runtime of the test's own, to be hurt."""
    with running.runtime() as made:
        yield made


async def test_a_runtime_that_is_away_is_retryable(tmp_path: Path) -> None:
    """Nobody at the socket: told as that, to be tried again."""
    containers = client.RuntimeContainers(tmp_path, tmp_path / "runtime.sock")

    with pytest.raises(errors.Retryable, match="cannot reach the runtime"):
        await containers.stop(records.AttemptId("pod", "main", 0), grace_s=0.0)


async def test_facts_survive_a_supervisor(own: running.RunningRuntime) -> None:
    """After a reconnection there is a full list, the same process on it."""
    spec = own.spec("sleep")
    before = await own.started(spec)
    lists = 0
    async with asyncio.timeout(running.WITHIN_S):
        async for news in own.containers.facts():
            if not isinstance(news, Sequence):
                continue
            assert list(news) == [before]
            lists += 1
            if lists == 3:
                break
            await asyncio.to_thread(own.kill, "supervisor")


async def test_no_list_misses_a_start_under_way(own: running.RunningRuntime) -> None:
    """A start answered while a list travels is on that list, or in a fact."""
    await own.started(own.spec("sleep", pod="warm"))
    seen: set[str] = set()
    started: set[str] = set()

    async def watch() -> None:
        async for news in own.containers.facts():
            if isinstance(news, observed.Running | observed.Ended):
                seen.add(news.id.pod_uid)
            elif isinstance(news, Sequence):
                there = {each.id.pod_uid for each in news}
                assert started <= there
                seen.update(there)
            if len(seen) == 41:
                return

    async with asyncio.timeout(running.WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(watch())
        for number in range(40):
            spec = own.spec("sleep", pod=f"p{number}")
            await own.started(spec)
            started.add(spec.id.pod_uid)
            if number in {10, 20, 30}:
                await asyncio.to_thread(own.kill, "supervisor")


async def test_a_stranger_is_not_let_in(own: running.RunningRuntime) -> None:
    """An agent of another version, or none at all, is told so or hung up on."""
    await own.started(own.spec("sleep"))
    address = str(own.settings.run / "runtime.sock")
    replies = [
        await asyncio.to_thread(_ask, address, framing.encode(messages.request(1, wanted)))
        for wanted in (messages.Hello(99), messages.List(""))
    ]

    assert ["VersionMismatch", "BadRequest"] == [each["error"]["reason"] for each in replies]
    assert {} == await asyncio.to_thread(_ask, address, b"GET / HTTP/1.1\r\n\r\n")
    assert (own.settings.run / "runtime.sock").stat().st_mode & 0o777 == 0o600


async def test_a_runtime_of_another_version_is_away(
    own: running.RunningRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may yet be replaced: told as news, and no error."""
    monkeypatch.setattr(messages, "VERSION", 99)  # in this process, not in the runtime's
    async with asyncio.timeout(running.WITHIN_S):
        news = await anext(aiter(own.containers.facts()))

    assert isinstance(news, observed.Away)
    assert "cannot talk version 99" in news.why


async def test_the_runtime_says_what_pods_may_use() -> None:
    """What it was told by its flags counts; tasks are the kernel's limit."""
    with running.runtime() as own:
        own.end()
        own.settings = dataclasses.replace(own.settings, cpu_millis=1500, memory_bytes=2**28)
        own.start()
        async for _ in own.containers.facts():
            break
        room = own.containers.room()

    assert room is not None
    assert (1500, 2**28) == (room.cpu_millis, room.memory_bytes)
    assert 0 < room.pids_max <= _MOST_PIDS


@pytest.mark.parametrize(
    "bad",
    [
        {"pod_uid": "../../etc", "container": "main", "attempt": 0},
        {"pod_uid": "pod", "container": "a/b", "attempt": 0},
        {"pod_uid": "pod", "container": "main", "attempt": -1},
        {"pod_uid": "pod", "container": "main", "attempt": "0/../../x"},
    ],
)
async def test_an_id_cannot_leave_the_directory(
    own: running.RunningRuntime, bad: dict[str, object]
) -> None:
    """What would be a path out of the state directory is no id."""
    hello = framing.encode(messages.request(1, messages.Hello(messages.VERSION)))
    start = framing.encode({"seq": 2, "verb": "start", "id": bad})
    await own.started(own.spec("sleep"))
    reply = await asyncio.to_thread(_ask, str(own.settings.run / "runtime.sock"), hello + start, 2)

    assert reply["error"]["reason"] == "BadRequest"


async def test_a_log_stays_below_its_directory(own: running.RunningRuntime) -> None:
    """A spec whose log would lie elsewhere is refused, and nothing is made."""
    spec = dataclasses.replace(own.spec("sleep"), log_path="/tmp/elsewhere.log")  # noqa: S108

    with pytest.raises(errors.BadInput, match="not below"):
        await own.started(spec)


def test_the_agent_may_be_another_user() -> None:
    """It starts a container, reads its log, and removes what it made."""
    agent = 64000 if os.geteuid() == 0 else os.geteuid()
    with running.runtime() as own:
        own.end()
        own.settings = dataclasses.replace(own.settings, agent_uid=agent)
        Path(own.settings.state).parent.chmod(0o711)
        own.start()
        # NB: a fork, since the other user cannot read this interpreter's files.
        child = multiprocessing.get_context("fork").Process(
            target=_be_the_agent, args=(own, agent, own.spec("echo", "hello"))
        )
        child.start()
        child.join(running.WITHIN_S)
        left = list((own.settings.state / "pods").iterdir())

        assert child.exitcode == 0
        assert left == []


def _be_the_agent(own: running.RunningRuntime, user: int, spec: records.ContainerSpec) -> None:
    if os.geteuid() != user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    pod = ids.PodRef("default", spec.pod_name, ids.PodUid(spec.id.pod_uid))
    log = store.CriLogStore(own.settings.logs).path(pod, spec.id.container, spec.id.attempt)
    asyncio.run(_run_one(own, dataclasses.replace(spec, log_path=str(log))))
    if "hello" not in log.read_text():
        raise AssertionError(log)
    statedir.StateDir(own.settings.state, own.settings.run, own.settings.logs).remove_pod(
        spec.id.pod_uid
    )


async def _run_one(own: running.RunningRuntime, spec: records.ContainerSpec) -> None:
    ended = await own.run(spec)
    if ended.code != 0:
        raise AssertionError(ended)
    # One that serves no HTTP has nobody to tell, and that is no error.
    await workers.SocketWorkers(own.settings.run).set_accepting(spec.id, accepting=True)
    await own.containers.forget(ids.PodUid(spec.id.pod_uid))


def _ask(address: str, data: bytes, count: int = 1) -> dict[str, dict[str, str]]:
    """Send bytes and return the last of so many replies; {}: it hung up."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(running.WITHIN_S)
        sock.connect(address)
        sock.sendall(data)
        decoder, replies = framing.Decoder(), list[dict[str, dict[str, str]]]()
        while len(replies) < count:
            got = sock.recv(65536)
            if not got:
                return {}
            replies.extend(decoder.feed(got))
        return replies[-1]
