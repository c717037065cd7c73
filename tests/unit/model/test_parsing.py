"""Manifests into wanted pods."""

import dataclasses
from typing import Any

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model import desired, fields, parsing, quantity


def _pod(spec: dict[str, Any] | None = None, **meta: object) -> desired.DesiredPod:
    containers = [{"name": "main", "image": "x"}]
    return parsing.pod(
        {
            "metadata": {"name": "p", "uid": "u1", **meta},
            "spec": {"containers": containers, **(spec or {})},
        }
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100m", 100), ("1", 1000), ("0.5", 500), (".5", 500), ("1e3", 1_000_000), (2, 2000),
        ("1u", 1), ("2k", 2_000_000), ("0", 0),
    ],
)  # fmt: skip
def test_millis(text: str | int, expected: int) -> None:
    """Quantities are exact and round up."""
    assert expected == quantity.millis(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("64Mi", 2**26), ("1.5Gi", 3 * 2**29), ("1k", 1000), ("1E", 10**18)]
)
def test_bytes(text: str, expected: int) -> None:
    """Binary and decimal suffixes differ."""
    assert expected == quantity.ceiling(text)


@pytest.mark.parametrize("text", ["", "1x", "Mi", "1 Mi", "--1", "1e", "0x10"])
def test_not_a_quantity(text: str) -> None:
    """What is no quantity is refused by name."""
    with pytest.raises(ValueError, match="as a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ({}, {}, "BestEffort"),
        ({"cpu": "1", "memory": "1Gi"}, {}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1024Mi"}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "500m"}, "Burstable"),
        ({"memory": "1Gi"}, {}, "Burstable"),
        ({}, {"cpu": "1m"}, "Burstable"),
        ({}, {"cpu": "0"}, "BestEffort"),
    ],
)
def test_qos(limits: dict[str, str], requests: dict[str, str], expected: str) -> None:
    """Classes are those of component-helpers' ComputePodQOS."""
    container = {"name": "m", "image": "x", "resources": {"limits": limits, "requests": requests}}

    assert expected == _pod({"containers": [container]}).qos_class


@pytest.mark.parametrize(
    ("image", "expected"),
    [("a", "Always"), ("a:latest", "Always"), ("a:1", "IfNotPresent"),
     ("r:5000/a", "Always"), ("r:5000/a:1", "IfNotPresent"), ("a@sha256:0", "IfNotPresent")],
)  # fmt: skip
def test_pull_policy_default(image: str, expected: str) -> None:
    """A moving tag is pulled always, as the API server defaults it."""
    pod = _pod({"containers": [{"name": "m", "image": image}]})

    assert expected == pod.containers[0].pull_policy


def test_grace() -> None:
    """A deletion's own grace counts before the spec's, and 30 s before none."""
    spec = {"terminationGracePeriodSeconds": 5}
    deleting = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 2}

    assert [30.0, 5.0, 2.0] == [_pod().grace_s, _pod(spec).grace_s, _pod(spec, **deleting).grace_s]


def test_who_ends_has_a_second() -> None:
    """Also by force, or by its manifest (calculateEffectiveGracePeriod)."""
    at = "2026-01-01T00:00:00Z"
    forced = _pod(deletionTimestamp=at, deletionGracePeriodSeconds=0)
    without = _pod({"terminationGracePeriodSeconds": 0})
    ends = (forced, _pod().vanished(), without.terminating(), desired.orphan(without.ref))

    assert without.grace_s == 0.0
    assert [1.0] * 4 == [each.grace_s for each in ends]
    assert not any(each.ends_at_once for each in ends)
    assert _pod().terminating().grace_s == 30.0


@pytest.mark.parametrize("uid", ["", "../x", "a/b", "x" * 64, "."])
def test_a_uid_cannot_leave_its_directory(uid: str) -> None:
    """A uid names a directory, so an odd one is refused."""
    with pytest.raises(errors.BadInput, match="pod uid"):
        _pod(uid=uid)


def test_a_wrong_shape_says_where() -> None:
    """A field of the wrong type is named."""
    with pytest.raises(errors.BadInput, match=r"\$\.spec\.containers\[0\]\.command"):
        _pod({"containers": [{"name": "m", "command": 7}]})


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({}, []),
        ({"hostNetwork": False, "initContainers": [], "os": None}, []),
        ({"hostNetwork": True}, ["spec.hostNetwork"]),
        ({"initContainers": [{"name": "i"}]}, []),
        ({"initContainers": [{"name": "i", "stdin": True}]}, ["spec.initContainers[i].stdin"]),
        ({"containers": [{"name": "m", "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}]}]},
         []),
        ({"containers": [{"name": "m", "restartPolicy": "Never", "restartPolicyRules": [
            {"action": "RestartHost", "exitCodes": {"operator": "In", "values": [1]}}]}]},
         ["spec.containers[m].restartPolicyRules.action"]),
        ({"containers": [{"name": "m", "readinessProbe": {"exec": {"command": ["x"]}}}]},
         []),
        ({"containers": [{"name": "m", "livenessProbe": {"grpc": {"port": 1, "service": ""}}}]},
         []),
        ({"containers": [{"name": "m", "livenessProbe": {"grpc": {"port": 1, "mode": "TLS"}}}]},
         ["spec.containers[m].livenessProbe.grpc.mode"]),
        ({"containers": [{"name": "m", "startupProbe": {
            "httpGet": {"port": 1, "protocol": "HTTP2"}}}]},
         ["spec.containers[m].startupProbe.httpGet.protocol"]),
        ({"containers": [{"name": "m", "startupProbe": {
            "httpGet": {"port": 1, "protocol": "HTTP1"}}}]}, []),
        ({"containers": [{"name": "m", "ports": [{"containerPort": 1, "hostPort": 2}]}]}, []),
        ({"containers": [{"name": "m", "securityContext": {"privileged": True}}]},
         ["spec.containers[m].securityContext.privileged"]),
        ({"containers": [{"name": "m", "env": [{"name": "A", "valueFrom": {
            "fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]}]},
         ["spec.containers[m].env.valueFrom.fileKeyRef"]),
        ({"volumes": [{"name": "kube-api-access-x", "projected": {}}]}, []),
        ({"volumes": [{"name": "data", "emptyDir": {}}]}, []),
        ({"volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}]},
         ["spec.volumes.emptyDir.medium"]),
        ({"volumes": [{"name": "data", "hostPath": {"path": "/"}}]}, ["spec.volumes.hostPath"]),
        ({"volumes": [{"name": "data", "emptyDir": {}}], "containers": [{"name": "m",
            "volumeMounts": [{"name": "data", "mountPath": "/d", "subPath": "x"}]}]},
         ["spec.containers[m].volumeMounts.subPath"]),
        ({"somethingNewer": True}, []),
    ],
)  # fmt: skip
def test_refusals(spec: dict[str, Any], paths: list[str]) -> None:
    """A field that cannot be honoured is refused by its path, others not."""
    assert paths == [each.path for each in _pod(spec).refusals]


def test_a_bad_quantity_is_refused() -> None:
    """A limit that cannot be read is named; nothing runs without its limit."""
    container = {"name": "m", "image": "x", "resources": {"limits": {"memory": "lots"}}}

    with pytest.raises(errors.BadInput, match="lots"):
        _pod({"containers": [container]})


def test_what_cannot_be_read_is_refused_and_can_be_deleted() -> None:
    """A field that is newer than this node leaves a pod that waits."""
    newer = [{"name": "A", "valueFrom": {"newerRef": {}}}]
    asked = {"requests": {"cpu": "1"}}
    raw = {
        "metadata": {
            "name": "p",
            "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": 7,
        },
        "spec": {
            "priority": 2_000_000_000,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "m", "image": "x", "env": newer, "resources": asked}],
        },
    }
    with pytest.raises(errors.BadInput) as refused:
        parsing.pod(raw)
    made = parsing.outline(raw, str(refused.value))

    assert [each.name for each in made.containers] == ["m"]
    assert (made.ref.uid, made.deleting, made.grace_s) == ("u", True, 7)
    assert (made.is_critical, made.asks.cpu_millis, made.qos_class) == (True, 1000, "Burstable")
    assert [each.operator for each in made.tolerations] == ["Exists"]
    (why,) = made.refusals
    assert str(why).startswith("spec: cannot read pod: env A: valueFrom holds nothing")


def _probed(name: str = "main", **more: object) -> dict[str, Any]:
    probe = {"httpGet": {"port": 80}}
    hook = {"preStop": {"sleep": {"seconds": 1}}}
    return {"name": name, "image": "x", "livenessProbe": probe, "lifecycle": hook, **more}


_NEWER = [{"name": "A", "valueFrom": {"newerRef": {}}}]


def test_an_ephemeral_container_that_cannot_be_read_is_refused_alone() -> None:
    """Nobody can take it away again: the pod that runs is to lose nothing."""
    spec = {"containers": [_probed()], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1M"}}]}
    debugs = [{"name": "new", "image": "x", "env": _NEWER}, {"name": "usual", "image": "x"}]
    raw = {"metadata": {"name": "p", "uid": "u"}, "spec": {**spec, "ephemeralContainers": debugs}}
    with pytest.raises(errors.BadInput) as refused:
        parsing.pod(raw)
    made = parsing.outline(raw, str(refused.value))
    without = parsing.pod({**raw, "spec": spec})

    new, usual = made.ephemeral_containers
    assert made.refusals == usual.refusals == ()
    assert str(new.refusals[0]).startswith("spec.ephemeralContainers[new]: cannot read pod: env A")
    assert without == dataclasses.replace(made, ephemeral_containers=())


@pytest.mark.parametrize(
    "odd",
    [
        {"containers": [_probed(env=_NEWER)]},
        {"containers": [_probed(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
         "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "a lot"}}]},
        {"containers": [_probed(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
         "volumes": [{"name": "w", "emptyDir": {}}]},
        {"containers": [_probed(), _probed("b", readinessProbe={"periodSeconds": "x"})]},
        {"containers": [_probed()], "initContainers": [{"name": "i", "image": "x", "env": _NEWER}]},
        {"containers": [_probed()], "readinessGates": [{"new": 1}]},
    ],
    ids=["beside", "volumes", "volume", "another", "init", "pod"],
)  # fmt: skip
def test_what_can_be_read_of_a_pod_counts(odd: dict[str, Any]) -> None:
    """It may run already: its probes and hooks are those it had."""
    raw = {"metadata": {"name": "p", "uid": "u"}, "spec": odd}
    with pytest.raises(errors.BadInput) as refused:
        parsing.pod(raw)
    made = parsing.outline(raw, str(refused.value))
    usual = _pod({"containers": [_probed()]}).container("main")

    assert (usual.probes, usual.lifecycle) == (
        made.containers[0].probes,
        made.containers[0].lifecycle,
    )
    assert usual.probes
    assert [each.path for each in made.refusals] == ["spec"]


def test_every_refusal_says_what_to_do() -> None:
    """The text that a user reads never ends at the bare fact."""
    rows = [*fields.POD.items(), *fields.CONTAINER.items(), *fields.EPHEMERAL.items()]

    assert [] == [path for path, fate in rows if fate.kind is fields.Kind.REFUSED and not fate.note]
