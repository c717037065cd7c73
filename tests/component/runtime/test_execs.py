"""A program beside a running attempt: in its sandbox, ended with its asker."""

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.runtime import running
from tests.component.runtime.executing import left, live, told, workers
from tests.component.runtime.running import RunningRuntime, until
from wasm_node.agent import errors, interfaces
from wasm_node.protocol import records, settings
from wasm_node.protocol.records import EndedBy, Mount

MIB = 1 << 20


@pytest.fixture
async def beside(shared: RunningRuntime) -> records.AttemptId:
    """Return an attempt that runs and does nothing."""
    spec = shared.spec("sleep", pod="beside", env=[("OF", "the attempt")])
    await shared.started(spec)
    return spec.id


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return the ends of a pipe: where to read, where to write."""
    ends = os.pipe()
    yield ends
    for each in ends:
        with contextlib.suppress(OSError):
            os.close(each)


@pytest.mark.parametrize("code", [0, 1, 126, 137, 255])
async def test_its_code_comes_through(
    shared: RunningRuntime, beside: records.AttemptId, code: int
) -> None:
    """Each exit code is reported as the program gave it."""
    said = await told(shared, beside, running.command("exit", str(code)))

    assert (code, EndedBy.ITSELF) == (said.how.code, said.how.ended_by)
    assert said.how.reason == ("Completed" if code == 0 else "Error")
    assert said.how.finished_at_ns >= said.how.started_at_ns > 0


async def test_its_streams_are_the_askers(shared: RunningRuntime) -> None:
    """Outputs come apart, as they were written; the log has nothing of it."""
    spec = shared.spec("sleep", pod="streams")
    await shared.started(spec)
    apart = await told(shared, spec.id, running.command("stderr"))
    plain = await told(shared, spec.id, running.command("partial"))

    assert (b"to stdout\n", b"to stderr\n") == (apart.out, apart.err)
    assert (b"no newline", b"") == (plain.out, plain.err)
    assert [] == shared.log(spec)


async def test_a_component_runs_as_well(shared: RunningRuntime, beside: records.AttemptId) -> None:
    """It has its arguments and its output; its code is exact."""
    said = await told(shared, beside, running.command("component-hello", "Ada"))
    ended = await told(shared, beside, running.command("component-exit"))

    assert (b"hello from a component Ada\n", 0) == (said.out, said.how.code)
    assert ended.how.code == 42


@pytest.fixture
def greeted(tmp_path: Path) -> Path:
    """Return a directory that all may read, with the file `greeting`."""
    (tmp_path / "greeting").write_text("hello\n")
    tmp_path.chmod(0o755)
    return tmp_path


async def test_it_sees_what_its_attempt_sees(shared: RunningRuntime, greeted: Path) -> None:
    """Environment, mounts and their bounds, and the user are the attempt's."""
    spec = shared.spec(
        "sleep",
        pod="same",
        env=[("A", "1"), ("B", "")],
        mounts=[Mount(str(greeted), "/data", read_only=True)],
    )
    worker = await shared.started(spec)
    environment = await told(shared, spec.id, running.command("env"))
    file = await told(shared, spec.id, running.command("readfile", "/data/greeting"))
    beyond = await told(shared, spec.id, running.command("ledger", "x"))
    async with live(shared, spec.id, running.command("count", "1000")) as program:
        await program.read()
        pids = workers(shared)
        owners = {_owner(pid) for pid in (worker.pid, *pids)}
    until(lambda: not workers(shared), "it is killed")

    assert (b"A=1\nB=\n", b"hello\n") == (environment.out, file.out)
    assert beyond.how.code != 0
    assert ["greeting"] == os.listdir(greeted)  # noqa: PTH208  # no Path in a coroutine
    assert (1, 1) == (len(pids), len(owners))


def _owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


async def test_stdin_is_a_stream(shared: RunningRuntime, beside: records.AttemptId) -> None:
    """What is typed arrives at once, and its end arrives as an end."""
    async with live(shared, beside, running.command("cat")) as program:
        for line in (b"one\n", b"two\n"):
            os.write(program.stdin, line)
            assert line == await program.read()
        os.close(program.stdin)
        how = await program.end()

    assert (0, EndedBy.ITSELF) == (how.code, how.ended_by)


async def test_it_may_wait_for_more_than_input(
    shared: RunningRuntime, beside: records.AttemptId
) -> None:
    """No input is no event: a clock goes on beside it."""
    async with live(shared, beside, running.command("ticks", "20")) as program:
        got = await program.read()
        os.write(program.stdin, b"typed\n")
        while b"typed" not in got:
            got += await program.read()
        os.close(program.stdin)
        how = await program.end()

    assert got.startswith(b"tick\n")
    assert how.code == 0


async def test_much_goes_through(shared: RunningRuntime, beside: records.AttemptId) -> None:
    """Megabytes in are the same megabytes out."""
    data = os.urandom(MIB) * 4
    said = await told(shared, beside, running.command("cat"), stdin=data)

    assert (data, 0) == (said.out, said.how.code)


async def test_a_slow_reader_holds_the_program(
    shared: RunningRuntime, beside: records.AttemptId
) -> None:
    """What nobody reads stays with the program, in no memory but the pipe's."""
    lines = 16384
    async with live(shared, beside, running.command("flood", "1")) as program:
        got = await program.read()
        (worker,) = workers(shared)
        until(lambda: _is_asleep(worker), "it waits for its reader")
        memory = _resident_bytes(worker)
        while got.count(b"\n") < lines:
            got += await program.read()
        how = await program.end()

    assert how.code == 0
    assert [line.rstrip(b".") for line in got.splitlines()] == [b"%d" % n for n in range(lines)]
    assert memory < 64 * MIB


def _is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_a_reader_that_has_gone_is_an_error(
    shared: RunningRuntime, beside: records.AttemptId, pipe: tuple[int, int]
) -> None:
    """Its writes fail then; they neither block it nor kill it unheard."""
    os.close(pipe[0])
    streams = interfaces.Streams(pipe[1], pipe[1], pipe[1])
    async with asyncio.timeout(running.WITHIN_S):
        how = await shared.containers.execute(
            beside, running.command("echo", "x"), export="", streams=streams
        )

    assert (74, EndedBy.ITSELF) == (how.code, how.ended_by)


async def test_files_are_streams_as_well(
    shared: RunningRuntime, beside: records.AttemptId, tmp_path: Path
) -> None:
    """A file is read from where it stands, and written to likewise."""
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.write(file, b"once\n")
    os.lseek(file, 0, os.SEEK_SET)
    async with asyncio.timeout(running.WITHIN_S):
        for streams in (
            interfaces.Streams(file, nothing, nothing),
            interfaces.Streams(nothing, file, file),
        ):
            guest = running.command("cat" if streams.stdin == file else "partial")
            how = await shared.containers.execute(beside, guest, export="", streams=streams)
            assert how.code == 0
    for fd in (file, nothing):
        os.close(fd)

    assert (tmp_path / "file").read_text() == "once\nno newline"


async def test_a_trap_says_where(shared: RunningRuntime, beside: records.AttemptId) -> None:
    """As of an attempt: 134 WasmTrap; the asker's stderr has the backtrace."""
    said = await told(shared, beside, running.command("trap"))

    assert (134, "WasmTrap", EndedBy.ITSELF) == (said.how.code, said.how.reason, said.how.ended_by)
    assert "wasm backtrace" in said.how.message
    assert b"wasm backtrace" in said.err


@pytest.mark.parametrize(
    ("export", "args", "code", "out"),
    [
        ("hello", (), 0, b"hello\n"),
        ("code", ("9",), 9, b""),
        ("code", ("0",), 0, b""),
        ("initialized", (), 7, b""),
        ("long", (), 255, b""),
        ("quit", (), 42, b""),
        ("trap", (), 134, b""),
    ],
)
async def test_a_function_is_called(
    shared: RunningRuntime,
    beside: records.AttemptId,
    export: str,
    args: tuple[str, ...],
    code: int,
    out: bytes,
) -> None:
    """What a module's export returns is the exit code; it may print as well."""
    said = await told(shared, beside, running.command("exports", *args), export=export)

    assert (code, out) == (said.how.code, said.out), said.how.message
    assert said.how.ended_by is EndedBy.ITSELF


@pytest.mark.parametrize(
    ("export", "code", "message"),
    [
        ("none", 0, ""),
        ("three", 3, ""),
        ("well", 0, ""),
        ("ill", 1, ""),
        ("why", 1, "not today"),
        ("local:checks/all#ready", 4, ""),
    ],
)
async def test_a_function_of_a_component_is_called(
    shared: RunningRuntime, beside: records.AttemptId, export: str, code: int, message: str
) -> None:
    """An integer is the code, an error 1; functions of instances are found."""
    said = await told(shared, beside, running.command("component-exports"), export=export)

    assert (code, message) == (said.how.code, said.how.message)
    assert message.encode() == said.err.rstrip(b"\n")


async def test_a_function_of_a_server_is_called(
    shared: RunningRuntime, beside: records.AttemptId
) -> None:
    """A component that answers HTTP is compiled otherwise, and is as good."""
    said = await told(shared, beside, running.command("component-proxy"), export="ready")

    assert (3, EndedBy.ITSELF) == (said.how.code, said.how.ended_by), said.how.message


@pytest.mark.parametrize(
    ("guest", "export", "why"),
    [
        ("exports", "", "exports no _start; it exports"),
        ("exports", "nothing", "exports no nothing; it exports"),
        ("exports", "add", "cannot call add: only functions without parameters"),
        ("exports", "half", "cannot call half"),
        ("exports", "memory", "cannot call memory"),
        ("component-exports", "", "exports no wasi:cli/run"),
        ("component-exports", "local:checks/all#nothing", "exports no local:checks/all#nothing"),
        ("component-exports", "local:checks/all", "cannot call local:checks/all"),
        ("component-exports", "twice", "cannot call twice"),
        ("component-exports", "half", "cannot call half"),
        ("component-proxy", "", "has no start|exports no wasi:cli/run"),
        ("echo", "x" * 5000, "at most 4096 bytes"),
    ],
)
async def test_what_cannot_be_called_is_told(
    shared: RunningRuntime, beside: records.AttemptId, guest: str, export: str, why: str
) -> None:
    """It is bad input, with words that say what is wrong; nothing runs."""
    with pytest.RaisesGroup(pytest.RaisesExc(errors.BadInput, match=why)):
        await told(shared, beside, running.command(guest), export=export)


async def test_who_hangs_up_has_it_killed(own: RunningRuntime) -> None:
    """Nothing is left of it then, and its attempt runs on."""
    spec = own.spec("sleep")
    attempt = await own.started(spec)
    async with live(own, spec.id, running.command("spin")) as program:
        await program.read()
        (worker,) = workers(own)
    until(lambda: running.is_gone(worker), "it is killed")
    until(lambda: not left(own), "nothing is on record")

    assert running.is_process(attempt.pid)
    assert attempt == await own.started(spec)


async def test_who_hangs_up_early_has_it_never_begun(own: RunningRuntime) -> None:
    """Given up at any moment on its way, nothing of it is left."""
    spec = own.spec("sleep")
    await own.started(spec)
    for tenths_ms in range(0, 100, 4):
        async with live(own, spec.id, running.command("spin")):
            await asyncio.sleep(tenths_ms / 10_000)
    until(lambda: not workers(own) and not left(own), "nothing is left")

    assert (await told(own, spec.id, running.command("exit", "3"))).how.code == 3


async def test_it_ends_with_its_attempt(own: RunningRuntime) -> None:
    """Once the attempt's end is known, nothing that ran beside it is there."""
    spec = own.spec("sleep", memory=32 * MIB)
    attempt = await own.started(spec)
    async with live(own, spec.id, running.command("spin")) as program:
        await program.read()
        (worker,) = workers(own)
        os.kill(attempt.pid, signal.SIGKILL)
        ended = await own.ended(spec.id)
        gone = running.is_gone(worker)
        how = await program.end()
    again = dataclasses.replace(spec, id=dataclasses.replace(spec.id, attempt=1))

    assert gone
    assert (137, EndedBy.CRASH) == (ended.code, ended.ended_by)
    assert (137, EndedBy.STOP, "Error") == (how.code, how.ended_by, how.reason)
    assert str(spec.id) in how.message
    assert (await own.started(again)).pid


async def test_a_supervisor_leaves_no_orphan(own: RunningRuntime) -> None:
    """The next one kills what was run for the last, and the attempt runs on."""
    spec = own.spec("sleep")
    attempt = await own.started(spec)
    with pytest.RaisesGroup(errors.Retryable):
        async with live(own, spec.id, running.command("spin")) as program:
            await program.read()
            (worker,) = workers(own)
            await asyncio.to_thread(own.kill, "supervisor")
            await program.end()
    until(lambda: running.is_gone(worker), "it is killed")
    said = await told(own, spec.id, running.command("echo", "again"))

    assert said.out == b"again\n"
    assert left(own) == []
    assert running.is_process(attempt.pid)


async def test_a_fork_server_that_dies_costs_nothing(own: RunningRuntime) -> None:
    """What was sent to it is sent again, to the next one."""
    spec = own.spec("sleep")
    await own.started(spec)
    own.kill("fork")
    said = await told(own, spec.id, running.command("echo", "on"))

    assert (b"on\n", 0) == (said.out, said.how.code)


async def test_memory_is_bounded_as_the_attempts(own: RunningRuntime) -> None:
    """The kernel ends who takes too much in their group, and only that one."""
    spec = own.spec("sleep", memory=32 * MIB)
    attempt = await own.started(spec)
    said = await told(own, spec.id, running.command("grow"))
    await asyncio.to_thread(own.kill, "supervisor")  # the next one knows it, too
    assert attempt == await own.started(spec)
    os.kill(attempt.pid, signal.SIGKILL)
    ended = await own.ended(spec.id)

    assert (137, EndedBy.MEMORY, "OOMKilled") == (
        said.how.code,
        said.how.ended_by,
        said.how.reason,
    )
    assert (137, EndedBy.CRASH) == (ended.code, ended.ended_by)


async def test_what_it_uses_is_its_attempts(
    shared: RunningRuntime, beside: records.AttemptId
) -> None:
    """Tasks count for the attempt for as long as it runs."""

    async def tasks() -> int:
        shares = await shared.containers.shares()
        return next(each.tasks for each in shares if each.id == beside)

    before = await tasks()
    async with live(shared, beside, running.command("count", "1000")) as program:
        await program.read()
        meanwhile = await tasks()
    until(lambda: not workers(shared), "it is killed")

    assert meanwhile > before
    assert await tasks() == before


async def test_denied_memory_is_told(ordinary: RunningRuntime, engine: str) -> None:
    """Without a group its own memory has the bound of the attempt's."""
    spec = ordinary.spec("sleep", memory=8 * MIB)
    await ordinary.started(spec)
    said = await told(ordinary, spec.id, running.command("grow"))

    assert (137, "OOMKilled") == (said.how.code, said.how.reason)
    assert said.how.message.startswith("inferred") is (engine == settings.WASMTIME_PY)


async def test_many_run_at_a_time(shared: RunningRuntime, beside: records.AttemptId) -> None:
    """Each gets its own code back."""
    codes = range(60)
    async with asyncio.TaskGroup() as group:
        all_ = [
            group.create_task(told(shared, beside, running.command("exit", str(code))))
            for code in codes
        ]

    assert list(codes) == [each.result().how.code for each in all_]
    assert left(shared) == []
