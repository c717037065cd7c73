"""Two releases are two pools: names, labels and directories of their own."""

from collections.abc import Callable

from e2e import pods
from e2e.cluster.release import Release
from e2e.namespaces import Namespace

Images = Callable[[str], str]

_SMALL = {"resources": {"limits": {"cpu": "250m", "memory": "256Mi"}}}


def test_a_second_pool_stands_beside_the_first(
    release: Release, namespace: Namespace, images: Images
) -> None:
    """Each host has a node of each pool; a pool's end is not the other's."""
    labels = {"example.com/pool": "b"}
    values = {
        "runtimeClass": {"create": False},
        "agent": {"settings": {"labels": labels}},
        "runtime": _SMALL,
    }
    pool = Release(release.hosts, "pool-b", "{host}-pool-b", values)
    pool.install()
    pod = pods.pod("second", images("echo"), "second")
    pod["spec"]["nodeSelector"] = labels
    namespace.apply(pod)
    assert namespace.wait_over("second")["spec"]["nodeName"] in pool.nodes

    pool.uninstall()

    nodes = release.hosts.plane.kubectl("get", "nodes", "-o=name")
    assert "pool-b" not in nodes
    first = pods.pod("first", images("echo"), "first")
    first["spec"]["runtimeClassName"] = "wasm"
    namespace.apply(first)
    assert namespace.wait_over("first")["spec"]["nodeName"] in release.nodes
