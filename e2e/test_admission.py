"""Pods that name their node by themselves, and may not run there."""

import functools
from collections.abc import Callable
from typing import Any

from e2e import pods
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]
_LABEL = "example.com/just-set"


def _bound(space: Namespace, name: str, image: str, **spec: Any) -> dict[str, Any]:
    made = pods.pod(name, image, restart="Always")
    made["spec"] |= {"nodeName": space.bed.node.name, **spec}
    return made


def test_a_pod_that_does_not_fit_is_rejected(namespace: Namespace, images: Images) -> None:
    """It has Failed, with the kubelet's reason; one that fits runs."""
    node = namespace.bed.plane.admin.get(f"/api/v1/nodes/{namespace.bed.node.name}")
    cores = int(node["status"]["allocatable"]["cpu"].removesuffix("m"))
    asked = {"requests": {"cpu": f"{1000 * cores + 1}m"}}
    for name, resources in (("large", asked), ("small", {})):
        pod = pods.pod(name, images("sleep"), restart="Always", resources=resources)
        pod["spec"]["nodeName"] = namespace.bed.node.name
        namespace.apply(pod)
    status = namespace.wait_over("large")["status"]
    namespace.wait_running("small")
    told = functools.partial(namespace.get, "events?fieldSelector=reason=OutOfcpu")
    events = wait_until(lambda: told()["items"], "its event", within_s=20)

    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert "enough resource: cpu, requested: " in status["message"]
    assert [each["type"] for each in events] == ["Warning"]


def test_a_pod_for_another_node_is_rejected(namespace: Namespace, images: Images) -> None:
    """By labels, by name, by system; in the words of lifecycle/predicate.go."""
    image, name = images("sleep"), namespace.bed.node.name
    others = {"key": "metadata.name", "operator": "NotIn", "values": [name]}
    terms = {"nodeSelectorTerms": [{"matchFields": [others]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    namespace.apply(
        _bound(namespace, "labels", image, nodeSelector={"example.com/disk": "ssd"}),
        _bound(namespace, "name", image, affinity={"nodeAffinity": required}),
        _bound(namespace, "windows", image, os={"name": "windows"}),
        _bound(namespace, "linux", image, os={"name": "linux"}),
    )
    found, events = {}, {}
    for each in ("labels", "name", "windows", "linux"):
        status = namespace.wait_over(each)["status"]
        found[each] = (status["phase"], status["reason"], status["message"])
        told = functools.partial(namespace.events, status["reason"])
        events[status["reason"]] = set(wait_until(told, "its event", within_s=20))

    label = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    field = "Failed to admit pod as the OS field doesn't match node OS"
    affinity = ("Failed", "NodeAffinity", f"Pod was rejected: {label}")
    system = ("Failed", "PodOSNotSupported", f"Pod was rejected: {field}")
    assert found == {"labels": affinity, "name": affinity, "windows": system, "linux": system}
    assert events == {"NodeAffinity": {label}, "PodOSNotSupported": {field}}


def test_a_label_counts_at_once(namespace: Namespace, images: Images) -> None:
    """Set right before the pod came, when no heartbeat has seen it yet."""
    node = namespace.bed.node.name
    namespace.kubectl("label", "node", node, f"{_LABEL}=yes")
    try:
        namespace.apply(_bound(namespace, "p", images("sleep"), nodeSelector={_LABEL: "yes"}))
        namespace.wait_running("p")
    finally:
        namespace.kubectl("label", "node", node, f"{_LABEL}-")
