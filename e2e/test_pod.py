"""A Pod applied with kubectl runs as wasm, can be read, and goes away."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from e2e import pods, watching
from e2e.cluster import wait_until
from e2e.namespaces import Namespace

Images = Callable[[str], str]


def test_a_pod_runs_and_its_log_comes_back(namespace: Namespace, images: Images) -> None:
    """Apply, get -o wide and logs do what they do on every node."""
    namespace.apply(pods.pod("hello", images("echo"), "hello", "from", "wasm"))

    node = namespace.wait_over("hello")["spec"]["nodeName"]

    wide = namespace.kubectl("get", "pods", "-o=wide", "--no-headers").split()
    assert [wide[0], wide[1], wide[2], wide[6]] == ["hello", "0/1", "Completed", node]
    assert namespace.kubectl("logs", "hello") == "hello from wasm\n"


def test_the_usual_events_are_told(namespace: Namespace, images: Images) -> None:
    """Describe tells the way from scheduling to the start, ours in order."""
    namespace.apply(pods.pod("told", images("echo"), imagePullPolicy="Always"))
    namespace.wait_over("told")

    def told() -> dict[str, list[str]]:
        found = namespace.get("events")["items"]
        # Times are whole seconds; versions tell the order of the writes.
        found.sort(key=lambda each: int(each["metadata"]["resourceVersion"]))
        by: dict[str, list[str]] = {}
        for each in found:
            by.setdefault(each["reportingComponent"], []).append(each["reason"])
        return by

    wanted = {
        "default-scheduler": ["Scheduled"],
        "wasm-node": ["Pulling", "Pulled", "Started"],
    }
    wait_until(lambda: told() == wanted, "the usual events", within_s=30)


def test_a_running_pod_is_reported_as_a_kubelet_reports_it(
    namespace: Namespace, images: Images
) -> None:
    """Conditions, addresses, ids and class of a running pod are all there."""
    limits = {"limits": {"memory": "64Mi", "cpu": "1"}}
    namespace.apply(pods.pod("full", images("sleep"), restart="Always", resources=limits))

    pod = namespace.wait_running("full")

    status, main = pod["status"], pods.status(pod)
    conditions = {each["type"]: each["status"] for each in status["conditions"]}
    assert dict.fromkeys(conditions, "True") == conditions
    assert conditions.keys() >= {
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    }
    assert status["phase"] == "Running"
    assert status["qosClass"] == "Guaranteed"
    assert status["observedGeneration"] == pod["metadata"]["generation"]
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIPs"] == [{"ip": status["hostIP"]}]
    assert main["ready"] is True
    assert main["started"] is True
    assert main["restartCount"] == 0
    assert main["containerID"].startswith("wasmtime://")
    assert "@sha256:" in main["imageID"]


def test_each_container_has_its_own_life_and_log(namespace: Namespace, images: Images) -> None:
    """Of two containers one may end while the other runs on."""
    pod = pods.pod("pair", images("sleep"))
    second = {"name": "second", "image": images("echo"), "args": ["the second"]}
    pod["spec"]["containers"].append(second)
    namespace.apply(pod)

    seen = namespace.wait("pair", "one of two ready", _has_one_ended)

    assert seen.pod["status"]["phase"] == "Running"
    assert pods.is_running(seen)
    assert namespace.kubectl("logs", "pair", "-c=second") == "the second\n"
    assert namespace.kubectl("get", "pod", "pair", "--no-headers").split()[1] == "1/2"


def _has_one_ended(seen: watching.Seen) -> bool:
    statuses = seen.pod["status"].get("containerStatuses", ())
    return pods.is_running(seen) and any("terminated" in each["state"] for each in statuses)


def test_a_deleted_pod_leaves_nothing(namespace: Namespace, images: Images) -> None:
    """After delete, its process, its records and its logs are gone."""
    node = namespace.bed.node
    namespace.apply(pods.pod("short", images("sleep"), restart="Always"))
    uid = namespace.wait_running("short")["metadata"]["uid"]
    before = _traces(uid, node.state / "pods", node.logs)

    namespace.kubectl("delete", "pod", "short")

    assert len(before) == 2
    wait_until(lambda: not _traces(uid, node.state / "pods", node.logs), "none left", within_s=30)


def _traces(uid: str, *directories: Path) -> list[Path]:
    return [name for each in directories for name in each.iterdir() if uid in name.name]


def test_the_environment_comes_from_where_the_manifest_says(
    namespace: Namespace, images: Images
) -> None:
    """Literals, ConfigMaps, Secrets, fields and references arrive in order."""
    namespace.kubectl("create", "configmap", "conf", "--from-literal=COLOUR=red")
    namespace.kubectl("create", "secret", "generic", "pass", "--from-literal=word=s3cret")
    env = [
        {"name": "LITERAL", "value": "one"},
        {
            "name": "WORD",
            "valueFrom": {"secretKeyRef": {"name": "pass", "key": "word"}},
        },
        *pods.field_env(NAME="metadata.name", NODE="spec.nodeName"),
        {
            "name": "LIMIT",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
        },
        {"name": "BOTH", "value": "$(LITERAL)-$(WORD)"},
    ]
    pod = pods.pod(
        "environed",
        images("env"),
        env=env,
        envFrom=[{"configMapRef": {"name": "conf"}, "prefix": "CONF_"}],
        resources={"limits": {"memory": "64Mi"}},
    )
    namespace.apply(pod)
    node = namespace.wait_over("environed")["spec"]["nodeName"]

    assert namespace.log("environed").splitlines() == [
        "CONF_COLOUR=red",
        "LITERAL=one",
        "WORD=s3cret",
        "NAME=environed",
        f"NODE={node}",
        "LIMIT=64",
        "BOTH=one-s3cret",
    ]


def test_the_log_may_tell_why_it_failed(namespace: Namespace, images: Images) -> None:
    """By terminationMessagePolicy the end of the log is in the status."""
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    namespace.apply(pods.pod("told", images("last-words"), 7, **policy))
    ended = pods.state(namespace.wait_over("told"), "terminated")

    assert (ended["exitCode"], ended["message"]) == (7, "the last words\n")


def test_a_missing_configmap_is_waited_for(namespace: Namespace, images: Images) -> None:
    """A pod says which ConfigMap it lacks, and starts once that exists."""
    namespace.apply(
        pods.pod("patient", images("env"), envFrom=[{"configMapRef": {"name": "late"}}])
    )
    waiting = pods.state(namespace.wait_waiting("patient"), "waiting")

    namespace.kubectl("create", "configmap", "late", "--from-literal=HERE=now")

    namespace.wait_over("patient")
    assert waiting["reason"] == "CreateContainerConfigError"
    assert waiting["message"] == 'configmap "late" not found'
    assert namespace.log("patient") == "HERE=now\n"


def test_what_this_node_cannot_do_is_refused_by_name(namespace: Namespace, images: Images) -> None:
    """A pod with a field that is not supported waits and names the field."""
    namespace.apply(pods.pod("modern", images("echo"), stdin=True))

    waiting = pods.state(namespace.wait_waiting("modern"), "waiting")

    assert waiting["reason"] == "UnsupportedPodSpec"
    assert waiting["message"].startswith("spec.containers[main].stdin: not supported")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("exec", ["exec", "p", "--", "ls"]),
        ("attach", ["attach", "p"]),
        ("portForward", ["port-forward", "p", "0:80"]),
    ],
)
def test_what_kubectl_cannot_do_here_is_said(
    namespace: Namespace, images: Images, what: str, words: Sequence[str]
) -> None:
    """Exec, attach and port-forward fail with words, not with a bare 404."""
    namespace.apply(pods.pod("p", images("sleep"), restart="Always"))
    namespace.wait_running("p")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        namespace.kubectl(*words)

    assert f"cannot {what}: nodes of this version" in refused.value.stderr
