"""Endings are true: the guest's own code, who ended it, and why."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from e2e import pods
from e2e.namespaces import Namespace

Images = Callable[[str], str]

_CODES = (0, 1, 42, 126, 127, 137, 255)


def _ended(namespace: Namespace, pod: Mapping[str, Any]) -> dict[str, Any]:
    """Apply a pod, wait for its end and return `state.terminated`."""
    namespace.apply(pod)
    return pods.state(namespace.wait_over(pod["metadata"]["name"]), "terminated")


def test_an_exit_code_is_the_guests_own(namespace: Namespace, images: Images) -> None:
    """Every code comes through, with the phase and reason that belong to it."""
    namespace.apply(*(pods.pod(f"exit-{code}", images("exit"), code) for code in _CODES))

    ended = {code: namespace.wait_over(f"exit-{code}") for code in _CODES}

    found = {
        code: (
            pod["status"]["phase"],
            pods.state(pod, "terminated")["exitCode"],
            pods.state(pod, "terminated")["reason"],
        )
        for code, pod in ended.items()
    }
    assert found == {
        code: ("Succeeded", 0, "Completed") if code == 0 else ("Failed", code, "Error")
        for code in _CODES
    }


@pytest.mark.parametrize(
    ("guest", "code"), [("component-hello", 0), ("component-error", 1), ("component-exit", 42)]
)
def test_a_component_ends_with_its_own_code(
    namespace: Namespace, images: Images, guest: str, code: int
) -> None:
    """WASI 0.2 commands give all their exit codes too."""
    assert _ended(namespace, pods.pod("component", images(guest)))["exitCode"] == code


def test_a_trap_is_told_with_its_backtrace(namespace: Namespace, images: Images) -> None:
    """A trap is WasmTrap and 134; message and log name the functions."""
    ended = _ended(namespace, pods.pod("trap", images("trap")))

    log = namespace.log("trap")
    assert (ended["exitCode"], ended["reason"]) == (134, "WasmTrap")
    assert "unreachable" in ended["message"]
    assert "!" in ended["message"]
    assert log.endswith(ended["message"].strip() + "\n")


def test_memory_over_the_limit_is_oom_killed(namespace: Namespace, images: Images) -> None:
    """A guest that goes over its memory limit is OOMKilled with 137."""
    limits = {"limits": {"memory": "32Mi"}}
    ended = _ended(namespace, pods.pod("greedy", images("grow"), resources=limits))

    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


def test_a_trap_near_the_limit_is_not_called_oom(namespace: Namespace, images: Images) -> None:
    """A trap of another cause with little memory left is not OOMKilled."""
    limits = {"limits": {"memory": "32Mi"}}
    ended = _ended(namespace, pods.pod("unlucky", images("neartrap"), 31, resources=limits))

    assert ended["reason"] == "WasmTrap" or "inferred" in ended["message"]
    assert ended["exitCode"] in {134, 137}


def test_a_guest_leaves_its_last_words(namespace: Namespace, images: Images) -> None:
    """What it writes to terminationMessagePath is its ending's message."""
    args = "words", "the oven is cold", 1, 3
    pod = pods.pod("cook", images("leave"), *args, terminationMessagePath="/run/words")
    ended = _ended(namespace, pod)

    assert (ended["exitCode"], ended["message"]) == (3, "the oven is cold")


def test_a_missing_import_waits_and_names_it(namespace: Namespace, images: Images) -> None:
    """A module that wants what nobody gives never starts, and says what."""
    namespace.apply(pods.pod("wants", images("missing")))

    waiting = pods.state(namespace.wait_waiting("wants"), "waiting")

    assert waiting["reason"] == "MissingImport"
    assert "env.nope" in waiting["message"]
    assert "wasi_snapshot_preview1" in waiting["message"]


def test_what_is_no_wasm_inside_waits_and_says_so(namespace: Namespace, images: Images) -> None:
    """A module that does not validate never starts, and says why."""
    namespace.apply(pods.pod("broken", images("corrupt")))

    waiting = pods.state(namespace.wait_waiting("broken"), "waiting")

    assert waiting["reason"] == "InvalidModule"


def test_a_library_cannot_start(namespace: Namespace, images: Images) -> None:
    """A module without _start ends as StartError and says what it exports."""
    ended = _ended(namespace, pods.pod("library", images("nostart")))

    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no _start" in ended["message"]


def test_a_crashing_pod_is_restarted_later_and_later(namespace: Namespace, images: Images) -> None:
    """The first restart is at once, the second after a CrashLoopBackOff."""
    namespace.apply(pods.pod("loop", images("exit"), 42, restart="Always"))

    pod = namespace.wait_waiting("loop")

    main = pods.status(pod)
    assert main["restartCount"] == 1
    assert main["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": main["state"]["waiting"]["message"],
    }
    assert main["state"]["waiting"]["message"].startswith("back-off 10s")
    assert main["lastState"]["terminated"]["exitCode"] == 42
