"""Each guest does what the comment at its top says, on plain wasmtime."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.wasm import guests

PLAIN = Path(__file__).with_name("plain.py")
BUILT_IN = Path(__file__).parents[3] / "agent" / "wasm_node" / "examples"
TRAPPED = 134
NEVER_BEGAN = 125


def words(file: Path, *args: str) -> list[str]:
    """Give the command that runs a file on plain wasmtime."""
    return [sys.executable, str(PLAIN), str(file), *args]


def run(guest: str, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a guest to its end."""
    command = words(guests.path(guest), *args)
    env = {"LC_ALL": "C"}  # with any other locale Python adds to it
    return subprocess.run(command, input=stdin, capture_output=True, env=env, check=False)


@pytest.mark.parametrize(
    ("guest", "args", "output"),
    [
        ("echo", ["one", "two three"], "one two three\n"),
        ("echo", [], "\n"),
        ("echo", ["x" * 100_000], "x" * 100_000 + "\n"),
        ("env", [], "LC_ALL=C\n"),
        ("count", ["1", "3", "me"], "n 0 me\nn 1 me\nn 2 me\n"),
        ("count", ["0", "1"], "n 0\n"),
        ("sleep", ["1"], ""),
        ("partial", [], "no newline"),
        ("last-words", ["0"], "the last words\n"),
        ("longline", [], "x" * 102_399 + "\n"),
        ("component-hello", ["Ada", "B C"], "hello from a component Ada B C\n"),
        ("ticks", ["60000"], ""),
    ],
)
def test_output(guest: str, args: Sequence[str], output: str) -> None:
    """What a guest prints, to the byte, before it ends with 0."""
    done = run(guest, *args)

    assert (output.encode(), b"", 0) == (done.stdout, done.stderr, done.returncode)


@pytest.mark.parametrize(
    ("guest", "args", "code"),
    [
        *[("exit", [str(code)], code) for code in (0, 1, 42, 126, 127, 137, 255)],
        ("exit", [], 0),
        ("last-words", ["7"], 7),
        ("component-error", [], 1),
        ("component-exit", [], 42),
        ("neartrap", ["65"], 3),
        ("readfile", ["/nowhere/file"], 2),
        ("leave", ["file", "text"], 64 + 8),
    ],
)
def test_exit_code(guest: str, args: Sequence[str], code: int) -> None:
    """The code is the guest's own, also beyond what wasmtime's WASI lets by."""
    assert code == run(guest, *args).returncode


@pytest.mark.parametrize(
    ("guest", "args", "said"),
    [
        ("trap", [], r"!divide_the_cake\n.*!serve_the_guests\n.*!throw_a_party\n.*!_start\n"),
        ("trap", [], "wasm `unreachable` instruction executed"),
        ("grow", [], r"^out of memory at MiB 63\n(.*\n)*.*wasm `unreachable`"),
        ("neartrap", ["64"], "wasm `unreachable`"),
        ("stackoverflow", [], r"!deeper\n(.*\n)*.*call stack exhausted"),
    ],
)
def test_trap(guest: str, args: Sequence[str], said: str) -> None:
    """How a guest traps, within 64 MiB, and the names on its backtrace."""
    done = run(guest, *args)

    assert TRAPPED == done.returncode
    assert re.search(said, done.stderr.decode())


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ("missing", "env::nope"),
        ("nostart", "_start"),
        ("corrupt", "malformed section id"),
        ("elf", "unexpected character"),
    ],
)
def test_what_cannot_begin(guest: str, said: str) -> None:
    """These are refused before any code of theirs runs, each for its reason."""
    done = run(guest)

    assert (NEVER_BEGAN, b"") == (done.returncode, done.stdout)
    assert said in done.stderr.decode()


def test_cat() -> None:
    """All of stdin comes out, more than a buffer of it."""
    text = os.urandom(100_000)

    assert text == run("cat", stdin=text).stdout


def test_both_streams() -> None:
    """Each line goes where it says."""
    done = run("stderr")

    assert (b"to stdout\n", b"to stderr\n") == (done.stdout, done.stderr)


def test_random() -> None:
    """Two runs give 32 bytes each, in hexadecimal, and not the same ones."""
    first, second = (run("random").stdout.decode() for _ in range(2))

    assert re.fullmatch(r"[0-9a-f]{64}\n", first)
    assert first != second


def test_flood() -> None:
    """A MiB is 16384 numbered lines of 64 bytes."""
    lines = run("flood", "1").stdout.splitlines(keepends=True)

    assert {64} == {len(each) for each in lines}
    assert list(range(16384)) == [int(each.split(b".")[0]) for each in lines]


@pytest.mark.parametrize("mount", ["/config", "/a/deep/one", "/"])
def test_readfile(tmp_path: Path, mount: str) -> None:
    """A file is found by its absolute path in the guest, through links."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "key").write_bytes(b"value" * 10_000)
    (tmp_path / "key").symlink_to("..data/key")

    done = run("readfile", f"--mount={tmp_path}:{mount}", f"{mount.rstrip('/')}/key")

    assert b"value" * 10_000 == done.stdout


def test_readfile_names_the_error(tmp_path: Path) -> None:
    """A file that is not there gives 64 + WASI's ENOENT, which is 44."""
    assert 108 == run("readfile", f"--mount={tmp_path}:/config", "/config/key").returncode


def test_leave(tmp_path: Path) -> None:
    """The file has the text so often, and nothing of what it was before."""
    (tmp_path / "words").write_text("before that there was more")
    done = run("leave", f"--mount={tmp_path}:/dev", "words", "bye", "3", "7")

    assert 7 == done.returncode
    assert "byebyebye" == (tmp_path / "words").read_text()


def _lines_of(*wanted: list[str]) -> Iterator[bytes]:
    """Start endless guests; give the first line of each, then end them."""
    started = [subprocess.Popen(each, stdout=subprocess.PIPE) for each in wanted]
    try:
        for each in started:
            assert each.stdout is not None
            yield each.stdout.readline()
        assert [None] * len(started) == [each.poll() for each in started]
    finally:
        for each in started:
            each.kill()
            each.communicate()


def test_what_never_ends() -> None:
    """A guest that spins or counts has begun, and is still there after that."""
    spin, count = guests.path("spin"), guests.path("count")

    assert [b"spinning\n", b"n 0\n"] == list(_lines_of(words(spin), words(count, "1")))


def test_ledger(tmp_path: Path) -> None:
    """Guests that start at once leave a whole line each, after the old ones."""
    book = tmp_path / "starts"
    book.write_text("before start\n")
    tags = [f"pod-{number}" for number in range(8)]
    file = guests.path("ledger")
    started = [subprocess.Popen(words(file, f"--mount={tmp_path}:/ledger", tag)) for tag in tags]
    try:
        while len(book.read_bytes()) < len("before start\n") + 8 * len("pod-0 start\n"):
            assert [None] * 8 == [each.poll() for each in started]
    finally:
        for each in started:
            each.kill()
            each.wait()

    assert sorted(["before start", *(f"{tag} start" for tag in tags)]) == sorted(
        book.read_text().splitlines()
    )


@pytest.mark.timeout(300)  # the first time, toolchains are fetched
@pytest.mark.parametrize(
    ("guest", "args", "output"),
    [
        ("c-hello", ["x"], "Hello from C in pod (none)\nargument 1: x\n"),
        ("go-hello", ["x"], "Hello from Go (wasip1/wasm) in pod (none)\nargument 1: x\n"),
        ("go-primes", ["1000000"], "78498 primes below 1000000, the largest is 999983\n"),
        (
            "python-hello",
            ["x"],
            "Hello from Python 3.14.0 (wasi) in pod (none)\nargument 1: x\n",
        ),
        pytest.param(
            "rust-hello",
            ["x"],
            "Hello from Rust in pod (none)\nargument 1: x\n",
            marks=pytest.mark.long,  # without rustup's target it needs Debian's packages
        ),
    ],
)
def test_real_toolchains(guest: str, args: Sequence[str], output: str) -> None:
    """The examples, built by the commands that users type, run."""
    done = run(guest, *args)

    assert (output.encode(), b"", 0) == (done.stdout, done.stderr, done.returncode)


@pytest.mark.timeout(300)  # as above
def test_a_job_with_a_bad_argument() -> None:
    """The Job's guest says what it cannot do, and ends with 2."""
    done = run("go-primes", "many")

    assert (2, b"") == (done.returncode, done.stdout)
    assert b'cannot count primes below "many"' in done.stderr


@pytest.mark.timeout(300)  # as above
def test_counter() -> None:
    """The Deployment's guest has its first line out at once, unbuffered."""
    assert [b"counter 0\n"] == list(_lines_of(words(guests.path("c-counter"))))


def test_built_in_hello() -> None:
    """`wasm-node run hello` greets, by name those who are named."""
    file, rest = BUILT_IN / "hello.wat", " from WebAssembly: a pod of one process and 4 MiB.\n"
    greetings = [
        subprocess.run(words(file, *names), capture_output=True, check=True).stdout
        for names in ([], ["Ada", "Grace"])
    ]

    assert [
        f"Hello{rest}".encode(),
        f"Hello Ada,{rest}Hello Grace,{rest}".encode(),
    ] == greetings


def test_built_in_count() -> None:
    """`wasm-node run count` begins with 1."""
    assert [b"1\n"] == list(_lines_of(words(BUILT_IN / "count.wat")))


def test_built_in_endings() -> None:
    """`exit42` and `trap` end as their names say."""
    ends = [
        subprocess.run(words(BUILT_IN / each), capture_output=True, check=False).returncode
        for each in ("exit42.wat", "trap.wat")
    ]

    assert [42, TRAPPED] == ends


def test_an_unknown_guest_is_an_error() -> None:
    """A misspelt name says which there are."""
    with pytest.raises(LookupError, match=r"cannot find guest exti: there are .*exit, "):
        guests.path("exti")
