"""A host that loses its power: all processes at once, the disk stays."""

import contextlib
from collections.abc import Callable
from typing import Any

from e2e import pods
from e2e.cluster import api, processes, wait_until
from e2e.cluster.hosts import Hosts
from e2e.cluster.release import Release
from e2e.namespaces import Namespace
from e2e.watching import Pod, Seen

Images = Callable[[str], str]

_WITHIN_S = 120.0


def test_pods_come_back_after_a_reboot(
    hosts: Hosts, release: Release, namespace: Namespace, images: Images
) -> None:
    """The same pods begin anew; on the other host nothing has happened."""
    names = {node: f"on-{node}" for node in release.nodes}
    for node, name in names.items():
        pod = pods.pod(name, images("count"), 200, restart="Always")
        pod["spec"] |= {"nodeName": node, "initContainers": _inits(images)}
        namespace.apply(pod)
    before = {node: namespace.wait_running(name) for node, name in names.items()}
    (host, other), (node, others_node) = hosts.hosts, release.nodes
    workers = processes.workers(2, other)

    host.power_off()
    host.power_on()

    def is_again(seen: Seen) -> bool:
        return pods.status(seen.pod).get("restartCount") == 1 and pods.is_running(seen)

    after = namespace.wait(names[node], "a restart", is_again, within_s=_WITHIN_S).pod
    assert after["metadata"]["uid"] == before[node]["metadata"]["uid"]
    setup, side = _init_statuses(after)
    order = [
        setup["state"]["terminated"]["finishedAt"],
        side["state"]["running"]["startedAt"],
        pods.state(after, "running")["startedAt"],
    ]
    assert [each["restartCount"] for each in (setup, side)] == [1, 1]
    assert order == sorted(order)
    assert order[0] > pods.state(before[node], "running")["startedAt"]
    assert other.processes("wasm:") == workers
    others = namespace.get(f"pods/{names[others_node]}")
    assert pods.status(others) == pods.status(before[others_node])
    assert _init_statuses(others) == _init_statuses(before[others_node])
    release.wait_ready()
    wait_until(lambda: _log(namespace, names[node]), "its log", within_s=_WITHIN_S)


def _inits(images: Images) -> list[dict[str, Any]]:
    """Give an init container that ends at once, and a sidecar."""
    side = {"name": "side", "image": images("count"), "args": ["200"], "restartPolicy": "Always"}
    return [{"name": "setup", "image": images("exit"), "args": ["0"]}, side]


def _init_statuses(pod: Pod) -> list[dict[str, Any]]:
    return list(pod["status"]["initContainerStatuses"])


def _log(namespace: Namespace, name: str) -> str:
    with contextlib.suppress(api.Refused):  # its node has a new address soon
        return namespace.log(name)
    return ""
