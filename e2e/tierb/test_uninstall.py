"""`helm uninstall` leaves nothing of the release, nor on the hosts."""

from collections.abc import Callable
from pathlib import Path

from e2e import pods
from e2e.cluster import Access
from e2e.cluster.release import Release
from e2e.namespaces import Namespace

Images = Callable[[str], str]

_DIRECTORIES = ("var/lib/wasm-node", "var/log/wasm-node", "run/wasm-node")
_LISTS = (
    "/api/v1/nodes",
    "/apis/apps/v1/controllerrevisions",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/node.k8s.io/v1/runtimeclasses",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/rbac.authorization.k8s.io/v1/roles",
)


def test_nothing_is_left(release: Release, namespace: Namespace, images: Images) -> None:
    """With pods on its nodes: no Node, Lease, request, RBAC object or file."""
    for name in ("one", "two"):
        namespace.apply(pods.pod(name, images("count"), 200, restart="Always"))
        namespace.wait_running(name)
    ours = _objects(release.hosts.plane)
    kept = _files(release)

    release.uninstall()
    left = _objects(release.hosts.plane)
    files = _files(release)
    workers = {pid for host in release.hosts.hosts for pid in host.processes("wasm")}
    release.install()  # before anything is asserted: the next tests need it

    assert len(ours) > 10
    assert left == set()
    assert workers == set()
    assert {"images", "pki", "pods", "compiled"} <= {each.name for each in kept}
    assert files == set()


def _objects(plane: Access) -> set[str]:
    """Give the name of every object of the release, by its kind."""
    return {
        f"{path.rpartition('/')[2]} {item['metadata']['name']}"
        for path in _LISTS
        for item in plane.admin.get(path)["items"]
        if "wasm" in item["metadata"]["name"]
    }


def _files(release: Release) -> set[Path]:
    """Give what lies in the release's directories on the hosts."""
    folders = (host.root / each for host in release.hosts.hosts for each in _DIRECTORIES)
    return {each for folder in folders for each in folder.glob("*")}
