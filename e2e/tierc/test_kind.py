"""What is special about kind: its nodes' network, and where they live."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from e2e import traces
from e2e.cluster import guardian, processes, wait_until
from e2e.cluster.kind import Kind
from e2e.cluster.release import Release

_CHECKOUT = Path(__file__).parents[2]
_WITHIN_S = 120.0
_STARTED_WITHIN_S = 300.0
_DECOY = "192.0.2.1"  # nobody's address
_OWNER = """
    import sys
    from pathlib import Path
    from e2e.cluster import Guard, kind

    with Guard.start() as guard:
        print(guard.pid, flush=True)
        kind.Kind.start(guard, Path(sys.argv[1]))
"""


def test_the_nodes_network_is_unharmed(kind: Kind, release: Release) -> None:
    """It has the routes that it had, where an InternalIP would break it."""
    nodes = {each["metadata"]["name"]: each for each in _items(kind, "/api/v1/nodes")}
    own = {name: node["spec"]["podCIDR"] for name, node in nodes.items()}
    (wasm,) = release.nodes
    a, b = kind.nodes

    restarts = _restarts(kind)

    assert restarts == {a.name: 0, b.name: 0}
    for node, other in ((a, b), (b, a)):
        configuration = node.run("cat", "/etc/cni/net.d/10-kindnet.conflist")
        assert own[node.name] in configuration
        routes = node.run("ip", "route")
        assert f"{own[other.name]} via {_internal_address(nodes[other.name])}" in routes
        assert own[wasm] not in routes + configuration
    _break_by_a_decoy(kind, restarts)


def _break_by_a_decoy(kind: Kind, restarts: dict[str, int]) -> None:
    """See kindnet end on a Node with an InternalIP, and recover without it."""
    api = kind.plane.admin
    decoy = {"metadata": {"name": "decoy"}, "spec": {"podCIDR": "10.244.99.0/24"}}
    api.call("POST", "/api/v1/nodes", decoy)
    addresses = {"status": {"addresses": [{"type": "InternalIP", "address": _DECOY}]}}
    kind.plane.kubectl(
        *("patch", "node", "decoy", "--subresource=status", "--type=merge"),
        f"--patch={json.dumps(addresses)}",
    )
    broken = wait_until(
        lambda: [name for name, count in _restarts(kind).items() if count > restarts[name]],
        "kindnet broken by a Node with an InternalIP",
        within_s=_WITHIN_S,
    )
    kind.plane.kubectl("delete", "node", "decoy")
    kind.plane.kubectl(
        *("rollout", "status", "daemonset/kindnet", "--namespace=kube-system"),
        f"--timeout={_WITHIN_S:.0f}s",
    )
    assert broken


def test_a_killed_owner_leaves_nothing(tmp_path: Path) -> None:
    """Killed in mid-creation: no process, interface, route or cgroup."""
    before = traces.settings()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_OWNER), tmp_path / "kind"],
        cwd=_CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        root = int(owner.stdout.readline())
        wait_until(
            lambda: processes.named(root, "kube-apiserver"),
            "an API server",
            within_s=_STARTED_WITHIN_S,
        )
        plan = json.loads((tmp_path / "kind/machine/plan.json").read_text())
        number = int(plan["cgroup"].split("-")[2])
        pids = [root, *guardian.descendants(root), *guardian.descendants(owner.pid)]
        during, found = traces.settings(), traces.of_network(number)
        owner.kill()

    wait_until(lambda: not any(map(traces.exists, pids)), "the end of all", within_s=60)
    wait_until(lambda: not traces.of_network(number), "the machine as before", within_s=30)
    assert len(pids) > 20
    assert len(found) > 3  # an interface, two routes, a cgroup or more
    assert during == before


def _items(kind: Kind, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = kind.plane.admin.get(path)["items"]
    return items


def _internal_address(node: dict[str, Any]) -> str:
    (address,) = (
        each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"
    )
    return str(address)


def _restarts(kind: Kind) -> dict[str, int]:
    """Count how often kindnet was started again, by the Node that it is on."""
    found = _items(kind, "/api/v1/namespaces/kube-system/pods?labelSelector=app=kindnet")
    return {
        each["spec"]["nodeName"]: each["status"]["containerStatuses"][0]["restartCount"]
        for each in found
    }
