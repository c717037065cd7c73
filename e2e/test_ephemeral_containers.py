"""Ephemeral containers on a real cluster: what `kubectl debug` adds."""

from collections.abc import Callable
from typing import Any

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


def _state(pod: watching.Pod, name: str) -> dict[str, Any]:
    found = pod["status"].get("ephemeralContainerStatuses", ())
    return next((dict(each["state"]) for each in found if each["name"] == name), {})


def _debug(namespace: Namespace, name: str, image: str, *words: str, options: str = "") -> None:
    namespace.kubectl(
        "debug", "p", f"--container={name}", f"--image={image}", "--attach=false",
        *options.split(), "--", *words,
    )  # fmt: skip


def _wait(namespace: Namespace, name: str, state: str) -> watching.Pod:
    seen = namespace.wait("p", f"{name} {state}", lambda each: state in _state(each.pod, name))
    return seen.pod


def test_a_pod_is_debugged_while_it_runs(namespace: Namespace, images: Images) -> None:
    """What is added runs once and is told of; the others go on."""
    namespace.apply(pods.pod("p", images("sleep"), restart="Always"))
    before = pods.status(namespace.wait_running("p"))
    _debug(namespace, "count", images("count"), "count", "1", "3")
    _debug(namespace, "exit", images("exit"), "exit", "7")
    _wait(namespace, "count", "terminated")
    pod = _wait(namespace, "exit", "terminated")

    assert _state(pod, "exit")["terminated"]["exitCode"] == 7
    assert len(namespace.kubectl("logs", "p", "-c", "count").splitlines()) == 3
    assert pods.status(pod) == before
    assert pods.condition(pod, "Ready")["status"] == "True"

    def told() -> set[str]:
        found = namespace.get("events?fieldSelector=reason=Started")["items"]
        return {each["involvedObject"]["fieldPath"] for each in found}

    wanted = {"spec.ephemeralContainers{count}", "spec.ephemeralContainers{exit}"}
    wait_until(lambda: wanted < told(), "their events", within_s=20)


def test_what_is_added_keeps_no_pod_from_its_end(namespace: Namespace, images: Images) -> None:
    """A pod whose work is done has Succeeded, and what was added is ended."""
    namespace.apply(pods.pod("p", images("sleep"), 10000))  # enough for kubectl to get there
    namespace.wait_running("p")
    _debug(namespace, "spin", images("spin"), "spin")
    _wait(namespace, "spin", "running")
    over = namespace.wait_over("p")

    assert over["status"]["phase"] == "Succeeded"
    assert _state(over, "spin")["terminated"]["exitCode"] == 143


def test_what_would_be_attached_to_says_that_it_cannot(
    namespace: Namespace, images: Images
) -> None:
    """With -i it waits, and its message has what to type instead."""
    namespace.apply(pods.pod("p", images("sleep"), restart="Always"))
    namespace.wait_running("p")
    _debug(namespace, "shell", images("exit"), "exit", "0", options="-i -t")
    waits = namespace.wait(
        "p",
        "the reason",
        lambda each: "message" in _state(each.pod, "shell").get("waiting", {}),
    )

    waiting = _state(waits.pod, "shell")["waiting"]
    assert waiting["reason"] == "UnsupportedPodSpec"
    assert "--attach=false" in waiting["message"]
    assert pods.condition(waits.pod, "Ready")["status"] == "True"
