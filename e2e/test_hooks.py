"""Hooks of containers: what is done after their start and before their end."""

import time
from collections.abc import Callable
from typing import Any

from e2e import pods
from e2e.cluster import wait_until
from e2e.health import Health
from e2e.namespaces import Namespace

Images = Callable[[str], str]

_FOR_EVER = ("sleep", "100000000")


def _pod(images: Images, lifecycle: dict[str, Any], **fields: Any) -> dict[str, Any]:
    guest, how_long = _FOR_EVER
    return pods.pod(
        "hooked", images(guest), how_long, restart="Always", lifecycle=lifecycle, **fields
    )


def test_a_sleep_before_the_end(namespace: Namespace, images: Images) -> None:
    """The container runs on while its hook sleeps, and ends after that."""
    namespace.apply(_pod(images, {"preStop": {"sleep": {"seconds": 3}}}))
    namespace.wait_running("hooked")
    began = time.monotonic()
    namespace.kubectl("delete", "pod", "hooked")
    took = time.monotonic() - began
    ended = pods.state(namespace.history("hooked")[-1].pod, "terminated")

    assert took >= 3
    assert ended["exitCode"] == 143
    namespace.wait_event("Killing", "Stopping container main")
    assert len(namespace.events("Killing")) == 1


def test_a_deletion_may_be_hastened(namespace: Namespace, images: Images) -> None:
    """A hook that would take minutes has what the last deletion gives it."""
    wanted = _pod(images, {"preStop": {"sleep": {"seconds": 300}}})
    wanted["spec"]["terminationGracePeriodSeconds"] = 600
    namespace.apply(wanted)
    namespace.wait_running("hooked")
    namespace.kubectl("delete", "pod", "hooked", "--wait=false")
    namespace.kubectl("delete", "pod", "hooked", "--wait=false", "--grace-period=1")

    namespace.wait_gone("hooked", within_s=20)


def test_a_hook_asks_the_container(namespace: Namespace, web: str, port: int) -> None:
    """By the name of a port; what it answers is of no account."""
    ask = {"httpGet": {"path": "/print", "port": "http"}}
    ports = [{"name": "http", "containerPort": port}]
    lifecycle = {"postStart": ask}
    namespace.apply(pods.pod("hooked", web, restart="Always", lifecycle=lifecycle, ports=ports))
    namespace.wait_running("hooked")

    assert namespace.log("hooked") == "one line\n"


def test_a_hook_asks_others(namespace: Namespace, images: Images, health: Health) -> None:
    """Before the end and once; an error is an answer, too."""
    health.status = 500
    ask = {"httpGet": {"path": "/bye", "port": health.port, "host": "127.0.0.1"}}
    namespace.apply(_pod(images, {"preStop": ask}))
    namespace.wait_running("hooked")
    before = list(health.asked)
    namespace.kubectl("delete", "pod", "hooked")
    asked = [(path, headers["User-Agent"]) for path, headers in health.asked]

    assert (before, asked) == ([], [("/bye", "kube-lifecycle/1.37")])
    assert namespace.events("FailedPreStopHook") == []


def test_a_deletion_by_force_calls_the_hook(
    namespace: Namespace, images: Images, health: Health
) -> None:
    """Its object may be gone by then; the node knows what it was."""
    ask = {"httpGet": {"path": "/forced", "port": health.port, "host": "127.0.0.1"}}
    namespace.apply(_pod(images, {"preStop": ask}))
    namespace.wait_running("hooked")
    namespace.kubectl("delete", "pod", "hooked", "--force", "--grace-period=0")

    wait_until(lambda: health.asked, "the hook's request", within_s=20)
    assert [path for path, _ in health.asked] == ["/forced"]


def test_a_sidecar_calls_its_hook_beside_the_end_of_others(
    namespace: Namespace, images: Images, health: Health
) -> None:
    """It is asked while they still run, once, and ends after them."""
    wanted = _pod(images, {"preStop": health.ask("/main")})
    main = wanted["spec"]["containers"][0]
    lifecycle = {"preStop": health.ask("/side")}
    side = main | {"name": "side", "restartPolicy": "Always", "lifecycle": lifecycle}
    wanted["spec"]["initContainers"] = [side]
    namespace.apply(wanted)
    namespace.wait_running("hooked")
    before = list(health.asked)
    health.may_answer.clear()  # so that both run on until they were looked at
    namespace.kubectl("delete", "pod", "hooked", "--wait=false")
    wait_until(lambda: len(health.asked) == 2, "both hooks' requests", within_s=20)
    meanwhile = namespace.get("pods/hooked")
    health.may_answer.set()
    last = namespace.wait_gone("hooked").pod["status"]
    (main_ended,), (side_ended,) = last["containerStatuses"], last["initContainerStatuses"]
    main_at, side_at = (
        each["state"]["terminated"]["finishedAt"] for each in (main_ended, side_ended)
    )

    assert (before, sorted(path for path, _ in health.asked)) == ([], ["/main", "/side"])
    assert pods.state(meanwhile, "running")
    assert meanwhile["metadata"]["deletionTimestamp"]
    assert main_at <= side_at


def test_until_its_hook_is_done_it_has_not_begun(namespace: Namespace, images: Images) -> None:
    """It waits as one that is being created, and runs after that."""
    namespace.apply(_pod(images, {"postStart": {"sleep": {"seconds": 2}}}))
    running = namespace.wait_running("hooked")
    started = pods.state(running, "running")["startedAt"]
    ready = pods.condition(running, "Ready")

    assert ready["status"] == "True"
    assert ready["lastTransitionTime"] > started  # of whole seconds both


def test_a_start_whose_hook_fails_is_ended(namespace: Namespace, images: Images) -> None:
    """It is told in the kubelet's words, and begun anew."""
    nobody = {"httpGet": {"port": 1, "host": "127.0.0.1"}}
    namespace.apply(_pod(images, {"postStart": nobody}))
    namespace.wait(
        "hooked", "another attempt", lambda seen: pods.status(seen.pod).get("restartCount")
    )
    failed = wait_until(lambda: namespace.events("FailedPostStartHook"), "its event", within_s=30)
    killed = wait_until(lambda: namespace.events("Killing"), "its event", within_s=30)

    assert (failed[0], killed[0]) == ("PostStartHook failed", "FailedPostStartHook")


def test_other_hooks_are_refused_by_name(namespace: Namespace, images: Images) -> None:
    """The pod waits, and says which field it is."""
    namespace.apply(_pod(images, {"preStop": {"tcpSocket": {"port": 80}}}))
    waiting = pods.state(namespace.wait_waiting("hooked"), "waiting")

    assert waiting["reason"] == "UnsupportedPodSpec"
    assert "lifecycle.preStop.tcpSocket: " in waiting["message"]
