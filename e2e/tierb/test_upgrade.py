"""
Upgrades: the agent's is no event for pods, the runtime's waits for a drain.

The next image pulls slowly, as on a real day: 16 MB at 20 Mbit/s. Meanwhile a
watcher asks for all that a cluster asks of a node, again and again, and notes
whatever was not answered.
"""

import contextlib
import datetime as dt
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any

from e2e import pods
from e2e.cluster import api, processes, wait_until
from e2e.cluster.hosts import Hosts
from e2e.cluster.release import Release
from e2e.namespaces import Namespace

Images = Callable[[str], str]
Check = Callable[[], bool]

_REPLICAS = 20
_MEGABYTES, _MBIT = 16, 20
_LEASE_S = 40.0
_WITHIN_S = 120.0


class Watch:
    """Which of some checks failed, and how."""

    def __init__(self, checks: Mapping[tuple[str, str], Check]) -> None:
        self._checks = checks
        self.missed: list[tuple[str, str, str]] = []
        self._over = threading.Event()

    def all_hold(self) -> bool:
        """Say whether none fails now."""
        return not any(map(_missing, self._checks.values()))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Check all of them over and over, in a thread each."""
        threads = [threading.Thread(target=self._watch, args=each) for each in self._checks.items()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _watch(self, name: tuple[str, str], check: Check) -> None:
        while not self._over.wait(0.1):
            if why := _missing(check):
                self.missed.append((*name, why))


def _missing(check: Check) -> str:
    """Say what is wrong; empty: nothing is."""
    try:
        return "" if check() else "not so"
    except (OSError, HTTPException, api.Refused) as error:
        return repr(error)


def test_an_agent_upgrade_is_no_event_for_pods(
    hosts: Hosts, release: Release, namespace: Namespace, images: Images
) -> None:
    """Same processes, same containers; no request goes without its answer."""
    _deploy(namespace, images("count"), _REPLICAS)
    before = _containers(namespace)
    workers = processes.workers(_REPLICAS, *hosts.hosts)
    old = {pod["metadata"]["uid"] for pod in release.pods("agent")}
    checks = _checks(namespace, release.nodes)
    watch = Watch(checks)
    hosts.push_next("next", megabytes=_MEGABYTES)

    with contextlib.ExitStack() as meanwhile:
        for host in hosts.hosts:
            meanwhile.enter_context(host.slow_network(_MBIT))
        meanwhile.enter_context(watch.running())
        began = time.monotonic()
        release.upgrade("--set=image.tag=next")
        wait_until(lambda: _agents_but(release, old) == 2, "new agents", within_s=_WITHIN_S)
        took_s = time.monotonic() - began
        wait_until(watch.all_hold, "all as before", within_s=_WITHIN_S)

    assert took_s > _MEGABYTES * 8 / _MBIT  # or nothing was slow
    assert _containers(namespace) == before
    assert {pid for host in hosts.hosts for pid in host.processes("wasm:")} == workers
    assert not watch.missed


def test_an_agent_deleted_by_hand_is_missed_by_nobody(
    release: Release, namespace: Namespace, images: Images
) -> None:
    """It serves on until the next one does, which is made at once."""
    node = release.nodes[0]
    pod = pods.pod("here", images("count"), 1000, restart="Always")
    pod["spec"]["nodeName"] = node
    namespace.apply(pod)
    namespace.wait_running("here")
    old = release.pod("agent", "host-a")["metadata"]
    watch = Watch(_checks(namespace, [node]))
    living = len(release.pods("agent"))

    with watch.running():
        release.hosts.plane.kubectl("delete", "pod", f"--namespace={release.name}", old["name"])
        wait_until(
            lambda: _agents_but(release, {old["uid"]}) == living,
            "the new agent",
            within_s=_WITHIN_S,
        )
        wait_until(watch.all_hold, "all as before", within_s=_WITHIN_S)

    assert not watch.missed


def test_a_runtime_is_replaced_after_a_drain(
    hosts: Hosts, release: Release, namespace: Namespace, images: Images
) -> None:
    """The old one serves until its pod is deleted, and then the new one."""
    plane, node = hosts.plane, release.nodes[0]
    _deploy(namespace, images("count"), 4)
    runtime = release.pod("runtime", "host-a")["metadata"]
    hosts.push_next("after", megabytes=1)
    release.upgrade("--set=image.tag=after", "--wait")
    assert release.pod("runtime", "host-a")["metadata"]["uid"] == runtime["uid"]

    plane.kubectl("drain", node, "--ignore-daemonsets", "--timeout=60s")
    plane.kubectl("delete", "pod", f"--namespace={release.name}", runtime["name"])
    replaced = wait_until(lambda: _ready_runtime(release), "the new runtime", within_s=_WITHIN_S)
    plane.kubectl("uncordon", node)

    assert replaced["spec"]["containers"][0]["image"].endswith(":after")
    release.wait_ready()
    pod = pods.pod("here", images("echo"), "here")
    pod["spec"]["nodeName"] = node
    namespace.apply(pod)
    assert namespace.wait_over("here")["status"]["phase"] == "Succeeded"


def _deploy(namespace: Namespace, image: str, replicas: int) -> None:
    spec = pods.spec(image, 1000, restart="Always")
    deployment = pods.workload("Deployment", "steady", spec, replicas=replicas)
    namespace.apply(deployment)
    namespace.kubectl("rollout", "status", "deployment/steady", "--timeout=60s")


def _containers(namespace: Namespace) -> dict[str, Any]:
    """Return what tells each pod's container from any other's."""
    items = namespace.get("pods")["items"]
    statuses = {each["metadata"]["uid"]: pods.status(each) for each in items}
    return {
        uid: (status["containerID"], status["restartCount"], status["state"])
        for uid, status in statuses.items()
    }


def _agents_but(release: Release, old: set[str]) -> int:
    """Count the Ready agents, once none of the old ones is left."""
    living = release.pods("agent")
    if any(pod["metadata"]["uid"] in old for pod in living):
        return 0
    return sum(map(_is_ready, living))


def _ready_runtime(release: Release) -> dict[str, Any] | None:
    with contextlib.suppress(LookupError):
        pod = release.pod("runtime", "host-a")
        return pod if _is_ready(pod) else None
    return None


def _is_ready(pod: dict[str, Any]) -> bool:
    return bool(pods.condition(pod, "Ready").get("status") == "True")


def _checks(namespace: Namespace, nodes: list[str]) -> dict[tuple[str, str], Check]:
    """Give what a cluster asks of a node; `namespace` has pods on each."""
    plane = namespace.bed.plane
    on = {each["spec"]["nodeName"]: each for each in namespace.get("pods")["items"]}

    def leased(node: str) -> bool:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
        renewed = dt.datetime.fromisoformat(plane.admin.get(path)["spec"]["renewTime"])
        return (dt.datetime.now(dt.UTC) - renewed).total_seconds() < _LEASE_S / 2

    def certified(node: str) -> bool:
        (address,) = plane.admin.get(f"/api/v1/nodes/{node}")["status"]["addresses"]
        trusting = ssl.create_default_context(cafile=str(plane.ca))
        with (
            socket.create_connection((address["address"], 10250), timeout=10) as connection,
            trusting.wrap_socket(connection, server_hostname=address["address"]),
        ):
            return True

    def logs(node: str) -> bool:
        return namespace.log(on[node]["metadata"]["name"], tailLines=1) != ""

    asked = {"Ready": plane.node_is_ready, "Lease": leased, "certificate": certified, "logs": logs}
    return {
        (what, node): functools.partial(check, node)
        for what, check in asked.items()
        for node in nodes
    }
