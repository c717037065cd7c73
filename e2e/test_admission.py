"""Pods that name their node by themselves, and do not fit."""

from collections.abc import Callable

from e2e import pods
from e2e.namespaces import Namespace

Images = Callable[[str], str]


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
    events = namespace.get("events?fieldSelector=reason=OutOfcpu")["items"]

    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert "enough resource: cpu, requested: " in status["message"]
    assert [each["type"] for each in events] == ["Warning"]
