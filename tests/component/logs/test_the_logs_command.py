"""`wasm-node logs` reads what lies on disk, and asks nobody."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wasm_node.agent.logs import store
from wasm_node.agent.model import ids
from wasm_node.protocol import layout, records


class Host:
    """A state directory and a log directory as agent and runtime leave them."""

    def __init__(self, directory: Path) -> None:
        self.state, self.root = directory / "state", directory / "logs"
        self.root.mkdir()
        self.logs = store.CriLogStore(self.root)

    def attempt(self, pod: str, container: str, number: int, *lines: str, uid: str = "u-1") -> Path:
        """Make an attempt that runs and has written these lines."""
        ref = ids.PodRef("default", pod, ids.pod_uid(uid))
        log = self.logs.path(ref, container, number)
        log.write_text(
            "".join(f"2026-11-22T12:00:00.000000000Z stdout F {each}\n" for each in lines)
        )
        directory = layout.attempt(self.state, records.AttemptId(uid, container, number))
        directory.mkdir(parents=True)
        return directory

    def command(self, *words: str) -> list[str]:
        """Return the command line."""
        start = "import sys; from wasm_node.cli.main import main; sys.exit(main())"
        where = ["--state", str(self.state), "--log-dir", str(self.root)]
        return [sys.executable, "-c", start, "logs", *where, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=15
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host on which nothing ran yet."""
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "one\ntwo\nthree\n"),
        (("--tail", "1"), "three\n"),
        (("--tail", "-1"), "one\ntwo\nthree\n"),
        (("--since", "87600h"), "one\ntwo\nthree\n"),
        (("--since", "1h30m0.5s500ms", "--tail", "3"), ""),
        (("--timestamps", "--tail=1"), "2026-11-22T12:00:00.000000000Z three\n"),
        (("-p",), "before\n"),
        (("-c", "main", "-n", "default"), "one\ntwo\nthree\n"),
    ],
)
def test_what_is_shown(host: Host, words: tuple[str, ...], shown: str) -> None:
    """Each flag means what it means to kubectl."""
    host.attempt("web", "main", 9, "before")
    host.attempt("web", "main", 10, "one", "two", "three")
    done = host.run("web", *words)

    assert (done.returncode, done.stdout, done.stderr) == (0, shown, "")


def test_the_newest_of_two_pods_of_one_name(host: Host) -> None:
    """A recreated pod's log is shown, not its predecessor's."""
    host.attempt("web", "main", 0, "old", uid="u-1")
    host.attempt("web", "main", 0, "new", uid="u-0")
    os.utime(host.root / "default_web_u-1", ns=(0, 0))

    assert host.run("web").stdout == "new\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("nobody",), 'pod "nobody" in namespace "default" has no logs in '),
        (("web", "-n", "other"), 'pod "web" in namespace "other" has no logs in '),
        (("web", "-c", "x"), 'container "x" not found in pod "web": it has [main]'),
        (("web", "-p"), 'previous terminated container "main" in pod "web" not found'),
        (("two",), "with -c, choose one of: [a b]"),
        (("web", "--log-dir", "/nowhere"), "below /nowhere: No such file or directory"),
        (("web", "--since", "soon"), "'soon' is no duration: write 1h30m, 10m or 45s"),
        (("web", "--tail", "-2"), "invalid"),
    ],
)
def test_what_is_refused(host: Host, words: tuple[str, ...], problem: str) -> None:
    """Each refusal says what is wrong and what there is."""
    host.attempt("web", "main", 0, "text")
    host.attempt("two", "a", 0, uid="u-2")
    host.attempt("two", "b", 0, uid="u-2")
    done = host.run(*words)

    assert done.returncode != 0
    assert done.stdout == ""
    assert problem in done.stderr


async def test_a_follow_ends_with_the_exit_record(host: Host) -> None:
    """Following goes on while the attempt has no exit record, then ends."""
    directory = await asyncio.to_thread(host.attempt, "web", "main", 0, "first")
    log = host.root / "default_web_u-1" / "main" / "0.log"
    process = await asyncio.create_subprocess_exec(
        *host.command("-f", "web"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first\n"
    write(log, "second")
    assert await process.stdout.readline() == b"second\n"
    write(log, "last")
    (directory / layout.EXIT).touch()

    assert await process.stdout.read() == b"last\n"
    assert await process.wait() == 0


def write(log: Path, line: str) -> None:
    """Append one line."""
    with log.open("a") as file:
        file.write(f"2026-11-22T12:00:00.000000000Z stdout F {line}\n")


def test_a_reader_that_stops_is_no_error(host: Host) -> None:
    """Behind `| head` it ends quietly, as programs do on SIGPIPE."""
    host.attempt("web", "main", 0, *("x" * 1000 for _ in range(2000)))
    with subprocess.Popen(
        host.command("web"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        problem = process.stderr.read()

    assert (process.returncode, problem) == (141, b"")
