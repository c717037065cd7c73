"""The environment of a container."""

import pytest

from wasm_node.agent import errors
from wasm_node.agent.model import desired, environment, expansion, parsing

PLACE = environment.Place("wasm-a", "10.0.0.1", "10.0.0.2")
ALLOCATABLE = environment.Allocatable(2000, 2**30, 110)


def _pod(**container: object) -> desired.DesiredPod:
    return parsing.pod(
        {
            "metadata": {
                "name": "p", "namespace": "n", "uid": "u1", "labels": {"app": "web"},
            },
            "spec": {"serviceAccountName": "sa", "containers": [{"name": "main", **container}]},
        }
    )  # fmt: skip


def _resolve(objects: environment.Objects | None = None, **container: object) -> dict[str, str]:
    pod = _pod(**container)
    image_env = (("A", "img"),)
    return dict(
        environment.resolve(pod, pod.containers[0], objects or {}, PLACE, ALLOCATABLE, image_env)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(X)", "1"), ("a$(X)b$(X)", "a1b1"), ("$$(X)", "$(X)"), ("$(NO)", "$(NO)"),
        ("$X", "$X"), ("$$", "$"), ("$(X", "$(X"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    """References follow apimachinery's expansion, unknown ones stay."""
    assert expected == expansion.expand(text, {"X": "1"})


def test_later_wins_and_sees_earlier() -> None:
    """A variable may use those before it; the image's own come first."""
    env = [{"name": "B", "value": "$(A)-$(C)"}, {"name": "A", "value": "mine"}]

    assert {"A": "mine", "B": "img-$(C)"} == _resolve(env=env)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"), ("metadata.namespace", "n"), ("metadata.uid", "u1"),
        ("spec.nodeName", "wasm-a"), ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "10.0.0.1"), ("status.podIP", "10.0.0.2"),
        ("metadata.labels['app']", "web"), ("metadata.annotations['no']", ""),
    ],
)  # fmt: skip
def test_fields(path: str, expected: str) -> None:
    """Each field of the downward API gives its value."""
    env = [{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}}]

    assert expected == _resolve(env=env)["V"]


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.memory", "1Mi", "64"), ("limits.memory", "0", "67108864"),
        ("requests.cpu", "1m", "250"), ("requests.cpu", "0", "1"), ("limits.cpu", "0", "2"),
        ("requests.memory", "0", "0"),
    ],
)  # fmt: skip
def test_resources(resource: str, divisor: str, expected: str) -> None:
    """Amounts round up in units of the divisor; no limit is the node's."""
    env = [
        {"name": "V", "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}
    ]
    resources = {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}

    assert expected == _resolve(env=env, resources=resources)["V"]


OBJECTS: environment.Objects = {
    ("ConfigMap", "c"): {"k": b"v", "l": b"w"}, ("Secret", "s"): {"p": b"pw"}
}  # fmt: skip


def test_objects() -> None:
    """Keys of ConfigMaps and Secrets arrive one by one and all at once."""
    made = _resolve(
        OBJECTS,
        envFrom=[{"prefix": "C_", "configMapRef": {"name": "c"}}],
        env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}],
    )

    assert {"A": "img", "C_k": "v", "C_l": "w", "P": "pw"} == made


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    ("name", "key", "words"), [("no", "k", 'configmap "no" not found'), ("c", "no", "no key 'no'")]
)
def test_missing_objects(name: str, key: str, words: str, optional: bool) -> None:
    """What is missing keeps the container from starting, unless optional."""
    reference = {"name": name, "key": key, "optional": optional}
    env = [{"name": "V", "valueFrom": {"configMapKeyRef": reference}}]
    if optional:
        assert "V" not in _resolve(OBJECTS, env=env)
        return
    with pytest.raises(errors.BadInput, match=words) as caught:
        _resolve(OBJECTS, env=env)
    assert caught.value.reason == "CreateContainerConfigError"


def test_wanted_objects() -> None:
    """Only what the container names is asked for."""
    pod = _pod(
        envFrom=[{"configMapRef": {"name": "c"}}],
        env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}}],
    )

    assert {("ConfigMap", "c"), ("Secret", "s")} == environment.wanted_objects(pod.containers[0])
