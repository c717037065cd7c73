"""What `helm install` gives: a wasm node on every host, and nobody else's."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e import asking, pods
from e2e.cluster import engine
from e2e.cluster.release import Release
from e2e.namespaces import Namespace

Images = Callable[[str], str]

_CHECKOUT = Path(__file__).parents[2]


def test_every_host_has_a_wasm_node(release: Release) -> None:
    """Both are Ready, wasm, and at the address of their agent's pod."""
    plane = release.hosts.plane

    for host, name in zip(release.hosts.hosts, release.nodes, strict=True):
        node = plane.admin.get(f"/api/v1/nodes/{name}")
        assert plane.node_is_ready(name)
        assert node["metadata"]["labels"]["kubernetes.io/arch"] == "wasm32-wasi"
        address = release.pod("agent", host.name)["status"]["podIP"]
        assert node["status"]["addresses"] == [{"type": "Hostname", "address": address}]


def test_a_runtime_class_is_all_that_a_pod_needs(
    release: Release, namespace: Namespace, images: Images
) -> None:
    """With runtimeClassName alone it lands on a wasm node and runs."""
    pod = pods.pod("plain", images("echo"), "plain")
    del pod["spec"]["tolerations"], pod["spec"]["nodeSelector"]
    pod["spec"]["runtimeClassName"] = "wasm"

    namespace.apply(pod)

    ended = namespace.wait_over("plain")
    assert ended["status"]["phase"] == "Succeeded"
    assert ended["spec"]["nodeName"] in release.nodes
    assert namespace.kubectl("logs", "plain") == "plain\n"


def test_the_image_has_the_native_engine(release: Release) -> None:
    """`get nodes -o wide` says the wasmtime that its lock file pins."""
    shown = release.hosts.plane.kubectl("get", "nodes", "-o=wide", *release.nodes)
    runtimes = re.findall(r"wasmtime://\S+", shown)

    assert runtimes == [f"wasmtime://{_wasmtime()}"] * len(release.nodes)


def _wasmtime() -> str:
    if engine.wheel() is None:  # without cargo, the test bed's image goes without the engine
        lock = (_CHECKOUT / "requirements-image.lock").read_text()
        return str(re.findall(r"^wasmtime==(\S+)", lock, re.MULTILINE)[0])
    locked = tomllib.loads((_CHECKOUT / "agent/engine/Cargo.lock").read_text())["package"]
    return str(next(each["version"] for each in locked if each["name"] == "wasmtime"))


def test_helm_test_runs_a_wasm_pod(release: Release) -> None:
    """`helm test` succeeds and shows what the pod said."""
    said = release.helm("test", release.name, "--logs")

    assert "Phase:          Succeeded" in said
    assert "from WebAssembly" in said


def test_a_stolen_token_gives_no_other_hosts_name(release: Release, tmp_path: Path) -> None:
    """The token of host-b's agent is refused host-a's node name."""
    plane = release.hosts.plane
    thief = asking.Person.of(plane, tmp_path, {"token": _agent_token(release, "host-b")})

    decided = thief.ask("stolen", "wasm-host-a").decision()

    assert decided[0] == "Denied"
    assert "host-b" in decided[2]


def test_a_kubelets_requests_are_left_alone(release: Release, tmp_path: Path) -> None:
    """Nobody decides on a request of a real kubelet, before or after ours."""
    plane = release.hosts.plane
    kubelet = asking.Person(plane, plane.directory / "pki/host-a.kubeconfig")
    address = plane.admin.get("/api/v1/nodes/host-a")["status"]["addresses"][0]["address"]
    names = [asking.address(address)]
    theirs = kubelet.ask("kubelets-own", "host-a", asking.SERVING, names=names)
    agent = asking.Person.of(plane, tmp_path, {"token": _agent_token(release, "host-b")})

    ours = agent.ask("asked-after-it", "wasm-host-b").decision()  # so both have been looked at

    assert ours[0] == "Approved"
    assert theirs.status() == {}


def _agent_token(release: Release, host: str) -> str:
    """Give a token as the kubelet of a host gives it to its agent."""
    pod = release.pod("agent", host)["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
    account = f"/api/v1/namespaces/{release.name}/serviceaccounts/wasm-node-agent/token"
    body: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"boundObjectRef": bound, "audiences": []},
    }
    token: str = release.hosts.plane.admin.call("POST", account, body)["status"]["token"]
    return token
