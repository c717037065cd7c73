"""StatefulSets, DaemonSets, CronJobs, budgets: what others make of our pods."""

import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from e2e import pods
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]
_LABELS = {"app": "it"}


def _status(namespace: Namespace, kind: str) -> Mapping[str, Any]:
    status: Mapping[str, Any] = json.loads(namespace.kubectl("get", kind, "it", "-o=json"))[
        "status"
    ]
    return status


def test_a_stateful_set_keeps_its_order(namespace: Namespace, images: Images) -> None:
    """Each begins when the one before it is Ready; the last one goes first."""
    spec = pods.spec(images("spin"), restart="Always")
    namespace.apply(pods.workload("StatefulSet", "it", spec, replicas=3, serviceName="it"))
    names = [f"it-{index}" for index in range(3)]
    ready = [namespace.wait(name, "readiness", pods.is_ready).at for name in names]
    begun = [namespace.history(name)[0].at for name in names]
    namespace.kubectl("scale", "statefulset/it", "--replicas=0")
    gone = [namespace.wait_gone(name).at for name in reversed(names)]

    assert all(one <= next_ for one, next_ in zip(ready, begun[1:], strict=False))
    assert gone == sorted(gone)


def test_a_daemon_set_has_a_pod_on_the_node(namespace: Namespace, images: Images) -> None:
    """One that tolerates the taint runs here; its count is right."""
    spec = pods.spec(images("spin"), restart="Always")
    namespace.apply(pods.workload("DaemonSet", "it", spec))
    wait_until(
        lambda: _status(namespace, "daemonset").get("numberReady") == 1, "a pod", within_s=30
    )
    (pod,) = namespace.get("pods?labelSelector=app=it")["items"]

    assert pod["spec"]["nodeName"] == namespace.bed.node.name
    assert _status(namespace, "daemonset")["desiredNumberScheduled"] == 1


def test_a_rollout_keeps_its_replicas_ready(namespace: Namespace, images: Images) -> None:
    """With maxUnavailable 0, there are never fewer ready pods than replicas."""
    spec = pods.spec(images("spin"), restart="Always")
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    namespace.apply(pods.workload("Deployment", "it", spec, replicas=3, strategy=rolling))
    namespace.kubectl("rollout", "status", "deployment/it", "--timeout=30s")
    began = max(namespace.wait(name, "readiness", pods.is_ready).at for name in namespace.names())
    namespace.kubectl("set", "env", "deployment/it", "NEW=1")
    namespace.kubectl("rollout", "status", "deployment/it", "--timeout=60s")
    ready, least = dict[str, bool](), 3
    story = sorted(
        itertools.chain.from_iterable(
            ((seen.at, name, seen) for seen in namespace.history(name))
            for name in namespace.names()
        ),
        key=lambda each: each[0],
    )
    for at, name, seen in story:
        ready[name] = pods.is_ready(seen) and not pods.is_gone(seen) and not pods.is_deleting(seen)
        if at > began:
            least = min(least, sum(ready.values()))

    assert len(ready) == 6
    assert least == 3


@contextlib.contextmanager
def _cordoned(namespace: Namespace) -> Iterator[str]:
    node = namespace.bed.node.name
    try:
        yield node
    finally:
        namespace.kubectl("uncordon", node)


def test_a_drain_respects_a_budget(namespace: Namespace, images: Images) -> None:
    """It evicts as many as may go, and waits for the rest in vain."""
    spec = pods.spec(images("spin"), restart="Always")
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "it"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": _LABELS}},
    }
    namespace.apply(pods.workload("Deployment", "it", spec, replicas=3), budget)
    namespace.kubectl("rollout", "status", "deployment/it", "--timeout=30s")

    def allowed() -> bool:
        return bool(json.loads(namespace.kubectl("get", "pdb", "it", "-o=json"))["status"].get(
            "disruptionsAllowed"
        ))  # fmt: skip

    wait_until(allowed, "one that may go", within_s=30)
    with _cordoned(namespace) as node, pytest.raises(subprocess.CalledProcessError) as refused:
        namespace.kubectl("drain", node, "--pod-selector=app=it", "--timeout=5s")

    left = namespace.get("pods?labelSelector=app=it&fieldSelector=status.phase=Running")["items"]
    names = [each["metadata"]["name"] for each in left]
    history = {name: namespace.history(name) for name in namespace.names()}
    evicted = [
        namespace.wait_gone(name)
        for name, story in history.items()
        if any(pods.is_deleting(seen) for seen in story)
    ]
    why = {
        each["reason"]
        for seen in evicted
        for each in seen.pod["status"]["conditions"]
        if each["type"] == "DisruptionTarget"
    }
    assert "violate the pod's disruption budget" in refused.value.stderr
    assert len(names) >= 2
    assert len(evicted) == 1
    assert why == {"EvictionByEvictionAPI"}


@pytest.mark.long
def test_a_cron_job_makes_jobs(namespace: Namespace, images: Images) -> None:
    """At the next full minute there is a Job, and it completes."""
    spec = pods.spec(images("echo"), "on", "time")
    job = {"spec": {"template": {"spec": spec}}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "it"}}
    namespace.apply({**cron, "spec": {"schedule": "* * * * *", "jobTemplate": job}})
    wait_until(
        lambda: _status(namespace, "cronjob").get("lastSuccessfulTime"), "a success", within_s=90
    )
    (pod, *_) = namespace.get("pods")["items"]

    assert namespace.log(pod["metadata"]["name"]) == "on time\n"
