import hashlib
import http.client
import os
import signal
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path

import pytest

from e2e.cluster import (
    ControlPlane,
    Failed,
    Guard,
    Kwok,
    Registry,
    api,
    binaries,
    cache,
    guardian,
    ports,
    standing,
    wait_until,
)

_CHECKOUT = Path(__file__).parents[1]


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_control_plane_is_ready(plane: ControlPlane) -> None:
    """A plain kubectl finds the API server ready."""
    assert plane.kubectl("get", "--raw", "/readyz") == "ok"


def test_a_node_may_change_itself_alone(plane: ControlPlane) -> None:
    """NodeRestriction lets a node patch its own Node and no other's."""
    label = {"metadata": {"labels": {"example.com/seen": "yes"}}}
    for name in ("restricted-a", "restricted-b"):
        credentials = plane.node_credentials(name, ["127.0.0.1"])
        node = plane.api_as(credentials.client)
        node.call("POST", "/api/v1/nodes", {"metadata": {"name": name}})

    patched = plane.api_as(plane.node_credentials("restricted-a", ["127.0.0.1"]).client)
    own = patched.call("PATCH", "/api/v1/nodes/restricted-a", label, content_type=api.MERGE_PATCH)
    with pytest.raises(api.Refused) as refusal:
        patched.call("PATCH", "/api/v1/nodes/restricted-b", label, content_type=api.MERGE_PATCH)

    plane.kubectl("delete", "node", "restricted-a", "restricted-b")
    assert own["metadata"]["labels"]["example.com/seen"] == "yes"
    assert refusal.value.status == HTTPStatus.FORBIDDEN


def test_a_nodes_kubeconfig_is_its_identity(plane: ControlPlane) -> None:
    """With a node's kubeconfig, the API server sees system:node:NAME."""
    credentials = plane.node_credentials("whoami-node", ["127.0.0.1"])

    said = plane.kubectl(
        f"--kubeconfig={credentials.kubeconfig}", "auth", "whoami", "-o", "jsonpath={.status}"
    )

    assert '"username":"system:node:whoami-node"' in said
    assert '"system:nodes"' in said


def test_the_api_server_may_use_kubelet_apis(plane: ControlPlane) -> None:
    """The API server may call kubelets, by the right that kubeadm gives it."""
    review = plane.admin.call(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "spec": {
                "user": "kube-apiserver-kubelet-client",
                "resourceAttributes": {
                    "verb": "create",
                    "resource": "nodes",
                    "subresource": "proxy",
                },
            }
        },
    )

    assert review["status"]["allowed"] is True


def test_the_api_server_comes_back(plane: ControlPlane, tmp_path: Path) -> None:
    """Planes run side by side, and one keeps port and data over a stop."""
    with Guard.start() as guard:
        second = ControlPlane.start(guard, tmp_path / "second")
        second.kubectl("create", "configmap", "kept", "--from-literal=a=b")

        second.stop_apiserver()
        with pytest.raises(OSError, match="refused"):
            second.admin.get("/readyz")
        second.start_apiserver()

        assert second.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
        assert second.server != plane.server


def test_the_registry_stores_what_is_pushed(registry: Registry) -> None:
    """A blob pushed over plain HTTP comes back, and lies where `blob` says."""
    content = b"\0asm\1\0\0\0"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    connection = http.client.HTTPConnection(registry.address, timeout=10)
    try:
        connection.request("POST", "/v2/test/blobs/uploads/")
        started = connection.getresponse()
        started.read()
        location = started.headers["Location"]
        connection.request("PUT", f"{location}&digest={digest}", content)
        stored = connection.getresponse()
        stored.read()
        connection.request("GET", f"/v2/test/blobs/{digest}")
        pulled = connection.getresponse().read()
    finally:
        connection.close()

    assert stored.status == HTTPStatus.CREATED
    assert pulled == content
    assert registry.blob(digest).read_bytes() == content


_OWNER = """
import pathlib, sys, time
from e2e.cluster import ControlPlane, Guard

directory = pathlib.Path(sys.argv[1])
guard = Guard.start()
ControlPlane.start(guard, directory / "plane")
guard.spawn("parent", ["sh", "-c", "setsid sleep 600 & setsid sleep 600 &"], directory=directory)
print(guard.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_owner_leaves_no_process(tmp_path: Path) -> None:
    """After kill -9 of a run, its cluster and even its orphans are gone."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, tmp_path],
        env={**os.environ, "PYTHONPATH": str(_CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        root = int(owner.stdout.readline())
        wait_until(  # the shell is gone, so the sleeps are orphans
            lambda: len(guardian.descendants(root)) == 4 + 2, "the orphans", within_s=10
        )
        pids = [root, *guardian.descendants(root)]
        owner.kill()

    wait_until(lambda: not _alive(pids), "the end of all processes", within_s=30)


def test_a_killed_guardian_takes_all_with_it(tmp_path: Path) -> None:
    """Whoever kills the guardian itself kills what it has started."""
    guard = Guard.start()
    process = guard.spawn("sleep", ["sleep", "600"], directory=tmp_path)

    os.kill(guard.pid, signal.SIGKILL)

    process.wait(within_s=10)
    with pytest.raises(Failed, match="its guardian"):
        guard.close()


def test_who_has_a_grace_is_asked_first(tmp_path: Path) -> None:
    """At the guard's end a process with a grace period may finish its work."""
    script = "trap 'echo done > done; exit' TERM; echo > ready; while :; do sleep 0.05; done"
    with Guard.start() as guard:
        guard.spawn("polite", ["sh", "-c", script], directory=tmp_path, grace_s=10)
        wait_until((tmp_path / "ready").exists, "the trap", within_s=10)

    assert (tmp_path / "done").read_text() == "done\n"


def test_a_standing_cluster_ends_without_a_trace(short_path: Path) -> None:
    """`up` twice is one cluster, `env` leads to it, `down` leaves nothing."""
    directory = short_path / "standing"
    env_file = standing.up(directory)
    again = standing.up(directory)
    script = f". '{env_file}' && echo $REGISTRY && kubectl get node $NODE --no-headers"
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    address, node, ready, *_ = said.stdout.split()
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/v2/")
    registry_status = connection.getresponse().status
    connection.close()
    users = _users_of(directory)

    standing.down(directory)

    assert again == env_file
    assert (node, ready, registry_status) == ("wasm-a", "Ready", HTTPStatus.OK)
    assert len(users) == 4 + 1 + 4  # the control plane, the registry, the node
    assert _alive(users) == []
    assert not directory.exists()
    standing.down(directory)


def _users_of(directory: Path) -> list[int]:
    return [
        int(cwd.parent.name)
        for cwd in Path("/proc").glob("[0-9]*/cwd")
        if os.path.realpath(cwd).startswith(f"{directory}{os.sep}")
    ]


def test_a_claimed_port_is_nobody_elses() -> None:
    """Ports claimed at the same time differ."""
    with ports.claim() as one, ports.claim() as two, ports.claim() as three:
        assert len({one, two, three}) == 3


def test_given_binaries_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What KUBEBUILDER_ASSETS has is used, what it lacks is built."""
    (tmp_path / "etcd").touch()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    assert binaries.program("etcd") == tmp_path / "etcd"
    assert binaries.program("kubectl").is_relative_to(cache.root())


def test_the_cache_makes_an_entry_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simultaneous callers wait for one maker; a failed one leaves nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space")

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "whole").touch()

    with pytest.raises(OSError, match="no space"):
        cache.entry("kind/key", fail)
    callers = [threading.Thread(target=cache.entry, args=("kind/key", make)) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(made) == 1
    assert [path.name for path in cache.entry("kind/key", fail).iterdir()] == ["whole"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_kwok_runs_pods_in_name_only(tmp_path: Path) -> None:
    """A pod that tolerates kwok's node is bound to it and called Running."""
    pod = {
        "metadata": {"name": "nothing"},
        "spec": {
            "containers": [{"name": "main", "image": "nothing"}],
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        },
    }
    node_of_each = "jsonpath={.items[*].spec.nodeName}"
    with Guard.start() as guard:
        plane = ControlPlane.start(guard, tmp_path / "plane", scheduler_qps=1000)
        kwok = Kwok.start(guard, tmp_path / "kwok", plane, "kwok-0")
        plane.admin.call("POST", "/api/v1/namespaces/default/pods", pod)

        node = wait_until(
            lambda: plane.kubectl(
                "get", "pods", "--field-selector=status.phase=Running", f"-o={node_of_each}"
            ),
            "the pod Running",
            within_s=20,
            alive=[kwok.process],
        )

    assert node == "kwok-0"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_go_comes_from_a_wheel_where_there_is_none(tmp_path: Path) -> None:
    """A machine without Go builds with the one that a wheel brings."""
    script = """
from pathlib import Path
from e2e.cluster import golang
print(golang.run(["version"], directory=Path("/"), env={}))
"""
    said = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            "PATH": "/usr/bin:/bin",
            "XDG_CACHE_HOME": str(tmp_path),
            "PYTHONPATH": str(_CHECKOUT),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.stdout.startswith("go version go1."), said.stderr
    assert "from its wheel" in said.stderr
