"""
Probes on a real cluster: what they say moves conditions, endpoints, restarts.

The guests here sleep; what their probes ask is a server of the test's own on
loopback, by the probe's `host`, so that the test decides what is healthy.
"""

import itertools
import json
import socket
from collections.abc import Callable

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.health import Health
from e2e.namespaces import Namespace

Images = Callable[[str], str]
_LABELS = {"app": "probed"}


def _is_unready(seen: watching.Seen) -> bool:
    return pods.is_running(seen) and pods.condition(seen.pod, "Ready").get("status") == "False"


def test_readiness_moves_conditions_and_endpoints(
    namespace: Namespace, images: Images, health: Health
) -> None:
    """A Service has the pod while its probe passes, and only then."""

    def is_served() -> bool | None:
        slices = json.loads(namespace.kubectl("get", "endpointslices", "-o=json"))["items"]
        return next(
            (each["conditions"]["ready"] for one in slices for each in one.get("endpoints") or ()),
            None,
        )

    health.status = 503
    pod = pods.pod("p", images("sleep"), restart="Always", readinessProbe=health.http())
    pod["metadata"]["labels"] = _LABELS
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"selector": _LABELS, "ports": [{"port": 80}]},
    }
    namespace.apply(service, pod)
    unready = namespace.wait("p", "an unready pod", _is_unready).pod
    wait_until(lambda: is_served() is False, "an unready endpoint", within_s=20)
    health.status = 200
    ready = namespace.wait("p", "a ready pod", pods.is_ready).pod
    wait_until(is_served, "a ready endpoint", within_s=20)
    health.status = 500
    wait_until(lambda: is_served() is False, "an unready endpoint again", within_s=20)

    said = pods.condition(unready, "ContainersReady")
    assert ("ContainersNotReady", "containers with unready status: [main]") == (
        said["reason"], said["message"]
    )  # fmt: skip
    assert pods.status(ready)["started"] is True
    path, headers = health.asked[0]
    assert "/healthz?x=1" == path
    assert (f"127.0.0.1:{health.port}", "kube-probe/1.37", "*/*") == (
        headers["Host"], headers["User-Agent"], headers["Accept"]
    )  # fmt: skip
    text = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    wait_until(lambda: text in namespace.events("Unhealthy"), "the event", within_s=20)


def test_a_failed_liveness_probe_restarts_with_back_off(
    namespace: Namespace, images: Images, health: Health
) -> None:
    """Stopped, told why, counted; at once the first two times, then later."""
    liveness = health.http(initialDelaySeconds=1)
    namespace.apply(pods.pod("p", images("sleep"), restart="Always", livenessProbe=liveness))
    namespace.wait_running("p")
    wait_until(lambda: len(health.asked) > 1, "probes that pass", within_s=20)
    health.status = 500
    again = namespace.wait(
        "p",
        "a second attempt",
        lambda seen: pods.is_running(seen) and pods.status(seen.pod)["restartCount"] == 1,
    ).pod
    waits = namespace.wait_waiting("p")

    ended = pods.status(again)["lastState"]["terminated"]
    assert (143, "Error") == (ended["exitCode"], ended["reason"])
    assert "CrashLoopBackOff" == pods.state(waits, "waiting")["reason"]
    assert 2 == pods.status(waits)["restartCount"]
    said = {"Container main failed liveness probe, will be restarted"}
    wait_until(lambda: said == set(namespace.events("Killing")), "the event", within_s=20)
    text = "Liveness probe failed: HTTP probe failed with statuscode: 500"
    namespace.wait_event("Unhealthy", text)


def test_a_failed_liveness_probe_ends_a_pod_that_never_restarts(
    namespace: Namespace, images: Images, health: Health
) -> None:
    """The pod has failed, after the probe's own grace and not the pod's."""
    health.status = 500
    liveness = health.http(terminationGracePeriodSeconds=1)
    pod = pods.pod("p", images("sleep"), livenessProbe=liveness)
    pod["spec"]["terminationGracePeriodSeconds"] = 3600
    namespace.apply(pod)
    over = namespace.wait_over("p")

    assert "Failed" == over["status"]["phase"]
    assert 143 == pods.state(over, "terminated")["exitCode"]
    wait_until(
        lambda: ["Container main failed liveness probe"] == namespace.events("Killing"),
        "the event",
        within_s=20,
    )


def test_the_others_wait_for_the_startup_probe(namespace: Namespace, images: Images) -> None:
    """Nothing listens at first; once somebody does, the pod has started."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        check = {"tcpSocket": {"host": "127.0.0.1", "port": server.getsockname()[1]}}
        namespace.apply(
            pods.pod(
                "p",
                images("sleep"),
                restart="Always",
                startupProbe=check | {"periodSeconds": 1, "failureThreshold": 60},
                livenessProbe=check | {"periodSeconds": 1, "failureThreshold": 1},
            )
        )
        before = namespace.wait_running("p")
        refused = f"Startup probe failed: dial tcp 127.0.0.1:{server.getsockname()[1]}: connect: "
        wait_until(
            lambda: refused + "connection refused" in namespace.events("Unhealthy"),
            "the event",
            within_s=20,
        )
        server.listen()
        after = namespace.wait("p", "a ready pod", pods.is_ready).pod

    assert (False, False) == (pods.status(before)["started"], pods.status(before)["ready"])
    assert (True, 0) == (pods.status(after)["started"], pods.status(after)["restartCount"])


def test_a_readiness_gate_keeps_a_pod_unready(namespace: Namespace, images: Images) -> None:
    """Its containers are ready, it is not, until somebody says so."""
    pod = pods.pod("p", images("sleep"), restart="Always")
    pod["spec"]["readinessGates"] = [{"conditionType": "example.com/open"}]
    namespace.apply(pod)
    closed = namespace.wait("p", "a closed gate", _is_unready).pod
    opened = {"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}
    namespace.kubectl("patch", "pod/p", "--subresource=status", "-p", json.dumps(opened))
    ready = namespace.wait("p", "an open gate", pods.is_ready).pod

    assert "ReadinessGatesNotReady" == pods.condition(closed, "Ready")["reason"]
    assert "True" == pods.condition(closed, "ContainersReady")["status"]
    assert "True" == pods.condition(ready, "example.com/open")["status"]


def test_a_killed_agent_makes_no_pod_unready(
    breakable_namespace: Namespace, images: Images, health: Health
) -> None:
    """What was ready stays it until a probe says otherwise."""
    namespace = breakable_namespace
    readiness = health.http(initialDelaySeconds=2)
    namespace.apply(pods.pod("p", images("sleep"), restart="Always", readinessProbe=readiness))
    first = namespace.wait("p", "a ready pod", pods.is_ready)
    namespace.bed.node.agent.kill()
    asked = len(health.asked)
    namespace.bed.node.start_agent()
    wait_until(lambda: len(health.asked) > asked + 1, "probes by the new agent", within_s=30)
    health.status = 503
    namespace.wait("p", "an unready pod", lambda seen: seen.at > first.at and _is_unready(seen))

    since = [each for each in namespace.history("p") if each.at >= first.at]
    readies = [pods.is_ready(each) for each in since]
    assert [True, False] == [ready for ready, _ in itertools.groupby(readies)]
