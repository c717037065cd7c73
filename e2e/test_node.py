"""The node is what it says, stays alive, and never oversteps its rights."""

import re
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from e2e import pods
from e2e.cluster import wait_until
from e2e.namespaces import Bed, Namespace

Images = Callable[[str], str]

_LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/wasm-a"


def test_the_node_keeps_linux_away(bed: Bed) -> None:
    """Labels and taints are of an architecture and a system of its own."""
    node = bed.plane.admin.get("/api/v1/nodes/wasm-a")

    labels = node["metadata"]["labels"]
    assert labels["kubernetes.io/arch"] == "wasm32-wasi"
    assert labels["kubernetes.io/os"] == "wasi"
    assert labels["kubernetes.io/hostname"] == "wasm-a"
    assert labels["node.kubernetes.io/exclude-from-external-load-balancers"] == "true"
    ours = {
        ("kubernetes.io/arch", "wasm32-wasi", "NoSchedule"),
        ("kubernetes.io/arch", "wasm32-wasi", "NoExecute"),
    }
    # A controller may still have to take back what another test's cordon was.
    wait_until(lambda: _taints(bed) == ours, "our taints alone", within_s=30)


def _taints(bed: Bed) -> set[tuple[str, str, str]]:
    listed = bed.plane.admin.get("/api/v1/nodes/wasm-a")["spec"]["taints"]
    return {(each["key"], each.get("value", ""), each["effect"]) for each in listed}


def test_the_node_publishes_one_address(bed: Bed) -> None:
    """One Hostname, never an InternalIP: CNI daemons take that for theirs."""
    status = bed.plane.admin.get("/api/v1/nodes/wasm-a")["status"]

    assert status["addresses"] == [{"type": "Hostname", "address": "127.0.0.1"}]


def test_the_nodes_figures_are_real(bed: Bed) -> None:
    """Version, capacity and conditions are those of this build and host."""
    node = bed.plane.admin.get("/api/v1/nodes/wasm-a")
    server = bed.plane.admin.get("/version")

    status, info = node["status"], node["status"]["nodeInfo"]
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    version = re.fullmatch(r"v(\d+)\.(\d+)\.\d+\+wasm-node\.\d+\.\d+\.\d+", info["kubeletVersion"])
    assert version is not None
    assert version.groups() <= (server["major"], server["minor"])
    assert conditions["Ready"] == "True"
    assert conditions.keys() >= {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}
    assert int(status["capacity"]["pods"]) > 100
    assert status["allocatable"].keys() == status["capacity"].keys()
    assert node["spec"]["providerID"].startswith("wasm-node://")
    assert "podCIDR" not in node["spec"]


def test_the_node_declares_what_it_can(bed: Bed) -> None:
    """By the names that the scheduler knows, and nothing else."""
    status = bed.plane.admin.get("/api/v1/nodes/wasm-a")["status"]

    assert status["declaredFeatures"] == ["RestartAllContainersOnContainerExits"]


def test_the_lease_is_renewed(bed: Bed) -> None:
    """The node's Lease has its name, its Node as owner, and is kept fresh."""
    lease = bed.plane.admin.get(_LEASE)

    def renewed() -> bool:
        return bool(bed.plane.admin.get(_LEASE)["spec"]["renewTime"] > lease["spec"]["renewTime"])

    wait_until(renewed, "a renewed lease", within_s=20)
    node = bed.plane.admin.get("/api/v1/nodes/wasm-a")
    assert lease["spec"]["holderIdentity"] == "wasm-a"
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_the_node_asks_for_nothing_forbidden(namespace: Namespace, images: Images) -> None:
    """Over a pod's whole life the API server refuses the node nothing."""
    namespace.kubectl("create", "configmap", "conf", "--from-literal=A=b")
    namespace.kubectl("create", "secret", "generic", "pass", "--from-literal=C=d")
    sources = [{"configMapRef": {"name": "conf"}}, {"secretRef": {"name": "pass"}}]
    namespace.apply(pods.pod("plain", images("sleep"), restart="Always", envFrom=sources))
    namespace.wait_running("plain")
    namespace.log("plain")
    namespace.kubectl("delete", "pod", "plain")

    wanted = {
        ("patch", "pods"),
        ("delete", "pods"),
        ("get", "configmaps"),
        ("get", "secrets"),
        ("create", "events"),
    }

    def is_told() -> bool:
        """Look whether all of it is in the log: that comes after an answer."""
        about = [(each["verb"], each.get("objectRef", {})) for each in _answers(namespace.bed)]
        return wanted <= {
            (verb, what["resource"])
            for verb, what in about
            if what.get("namespace") == namespace.name
        }

    wait_until(is_told, f"{wanted} in the audit log", within_s=30)
    answers = _answers(namespace.bed)
    assert ("watch", "pods") in {
        (each["verb"], each.get("objectRef", {}).get("resource")) for each in answers
    }
    assert list(_refused(answers)) == []


def _refused(answers: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, each in enumerate(answers):
        status = each["responseStatus"]
        if status["code"] not in {401, 403}:
            continue
        # In a namespace that goes, nobody may create anything.
        if "is being terminated" in status["message"]:
            continue
        # The Node authorizer may hear of a new pod later than its node does.
        again = [x for x in answers[number:] if x["requestURI"] == each["requestURI"]]
        if "no relationship found" in status["message"] and _is_given(again[-1]):
            continue
        yield each


def _is_given(answer: dict[str, Any]) -> bool:
    return bool(answer["responseStatus"]["code"] == HTTPStatus.OK)


def _answers(bed: Bed) -> list[dict[str, Any]]:
    """List what the API server has answered this node, by its audit log."""
    return [x for x in bed.plane.audited() if x["user"]["username"] == "system:node:wasm-a"]
