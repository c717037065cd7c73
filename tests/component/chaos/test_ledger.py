"""The ledger of a chaos run: what guests say and what the kernel knows."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from e2e.chaos import background, ledger
from e2e.cluster import wait_until

_GUEST = """
import ctypes, socket, sys
ctypes.CDLL(None).prctl(15, b"wasm:main", 0, 0, 0)
port, *words = sys.argv[1:]
line = socket.create_connection(("127.0.0.1", int(port)))
line.sendall((" ".join(words) + "\\n").encode())
sys.exit(int(line.recv(10)))
"""

Guest = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def book() -> Iterator[ledger.Ledger]:
    """Give an open ledger."""
    with background.running() as beside, ledger.running(beside) as made:
        yield made


@pytest.fixture
def guest(book: ledger.Ledger) -> Iterator[Guest]:
    """Give what starts a guest that says these words."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", _GUEST, str(book.port), *words]
        started.append(subprocess.Popen(argv))
        before = len(started)
        wait_until(
            lambda: len(book.runs()) + len(book.commands()) == before, "its word", within_s=10
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def test_a_guest_ends_as_its_script_says(book: ledger.Ledger, guest: Guest) -> None:
    """What it is told is on record before it hears it, its end after that."""
    codes = [guest("u", "ns/p", "main", "key:3@50,4@50", str(n)).wait() for n in range(3)]
    wait_until(lambda: all(x.ended for x in book.runs()), "all ends", within_s=10)

    assert codes == [3, 4, 4]
    assert [each.told for each in book.runs()] == [3, 4, 4]
    assert [each.beside for each in book.runs()] == [(), (), ()]


def test_a_killed_guest_is_known_by_its_process(book: ledger.Ledger, guest: Guest) -> None:
    """The kernel says which process it was, and when it was gone."""
    process = guest("u", "ns/p", "main", "key:on", "n")
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: book.runs()[0].ended, "its end", within_s=10)

    (run,) = book.runs()
    assert run.told is None
    assert run.process is not None
    assert (run.process.pid, run.process.name) == (process.pid, "wasm:main")


def test_two_of_one_container_are_side_by_side(book: ledger.Ledger, guest: Guest) -> None:
    """The second run has the first beside it, but no other container's."""
    for number, container in enumerate(("main", "side", "main")):
        guest("u", "ns/p", container, "key:on", f"n{number}")

    assert [each.beside for each in book.runs()] == [(), (), ("n0",)]


def test_a_command_is_beside_a_run(book: ledger.Ledger, guest: Guest) -> None:
    """It is no run; its steps are its own, its beginning the kernel's word."""
    main = guest("u", "ns/p", "main", "key:on", "n")
    codes = [guest("u", "ns/p", "main!liveness", ":1@0,0@0", str(n)).wait() for n in range(2)]
    other = guest("v", "ns/q", "main!liveness", ":1@0,0@0", "n2").wait()
    (run,), commands = book.runs(), book.commands()

    assert (codes, other) == ([1, 0], 1)
    assert [(each.what, each.container, each.told) for each in commands] == [
        ("liveness", "main", 1),
        ("liveness", "main", 0),
        ("liveness", "main", 1),
    ]
    assert run.process is not None
    assert run.process.pid == main.pid
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert run.began - tick_s < commands[0].born <= commands[0].began


def test_a_run_says_what_it_has_read(book: ledger.Ledger, guest: Guest) -> None:
    """Before its own number, which comes last."""
    guest("u", "ns/p", "main", "key:on", "of-first", "n")

    assert [(each.read, each.nonce) for each in book.runs()] == [("of-first", "n")]
