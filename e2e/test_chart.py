"""What the chart and deploy/ make, as a real API server takes it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import namespaces
from e2e.cluster import binaries
from tests.component.chart import rendering

_DEPLOY = rendering.CHART.parents[1] / "deploy"
_DRY = ("apply", "--dry-run=server", "--validate=strict")


@pytest.fixture
def runtime_class(namespace: namespaces.Namespace) -> Iterator[str]:
    """Give the chart's RuntimeClass, under the name of the test's namespace."""
    made = rendering.one(
        rendering.rendered({"runtimeClass": {"name": namespace.name}}),
        "RuntimeClass",
        namespace.name,
    )
    namespace.bed.plane.kubectl("create", "-f", "-", stdin=json.dumps(made))
    yield namespace.name
    namespace.bed.plane.kubectl("delete", "runtimeclass", namespace.name)


@pytest.fixture
def operator_kinds(namespace: namespaces.Namespace) -> Iterator[None]:
    """Have the API server know the kinds of the Prometheus operator."""
    files = [f"--filename={each}" for each in binaries.operator_crds()]
    namespace.kubectl("create", *files)
    namespace.kubectl("wait", "--for=condition=established", "--timeout=30s", *files)
    yield
    namespace.kubectl("delete", *files)


def test_the_api_server_takes_every_object(
    namespace: namespaces.Namespace, runtime_class: str, operator_kinds: None
) -> None:
    """No field of what the chart renders is unknown or of a wrong type."""
    objects = rendering.rendered(
        {**rendering.EVERYTHING, "runtimeClass": {"name": runtime_class}}, namespace=namespace.name
    )
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    taken = namespace.bed.plane.kubectl(*_DRY, "-f", "-", stdin=json.dumps(listed))

    assert {"PodMonitor", "PrometheusRule"} <= {each["kind"] for each in objects}
    assert len(objects) == taken.count("(server dry run)")


@pytest.mark.parametrize("folder", ["", "uninstall"])
def test_an_overlay_of_deploy_is_taken(
    folder: str, namespace: namespaces.Namespace, tmp_path: Path
) -> None:
    """`kubectl apply -k` works with an overlay that names another image."""
    overlay = {
        "resources": [os.path.relpath(_DEPLOY / folder, tmp_path)],
        "images": [{"name": "wasm-node", "newName": "registry.example.com/x", "newTag": "1"}],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(overlay))
    built = namespace.kubectl("kustomize", str(tmp_path))
    here = built.replace("namespace: wasm-node\n", f"namespace: {namespace.name}\n")
    taken = namespace.bed.plane.kubectl(*_DRY, "-f", "-", stdin=here)

    assert "image: registry.example.com/x:1" in built
    assert "image: wasm-node" not in built
    assert "(server dry run)" in taken


@pytest.mark.parametrize(
    ("component", "level", "refused_for"),
    [
        ("controller", "restricted", ""),
        ("uninstall", "restricted", ""),
        ("agent", "baseline", 'hostPath volumes (volumes "state", "run", "logs")'),
        ("runtime", "baseline", 'hostPath volumes (volumes "state", "run", "logs")'),
    ],
)
def test_pod_security_level(
    component: str, level: str, refused_for: str, namespace: namespaces.Namespace
) -> None:
    """Host directories alone keep two from baseline; the rest is restricted."""
    namespace.bed.plane.kubectl(
        "label", "namespace", namespace.name, f"pod-security.kubernetes.io/enforce={level}"
    )
    spec = dict(rendering.pod_specs(rendering.rendered()))[component]
    spec = {name: value for name, value in spec.items() if name != "serviceAccountName"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": component}, "spec": spec}
    if not refused_for:
        namespace.kubectl(*_DRY, "-f", "-", stdin=json.dumps(pod))
        return
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        namespace.kubectl(*_DRY, "-f", "-", stdin=json.dumps(pod))

    assert f'violates PodSecurity "{level}:latest": {refused_for}\n' in str(refusal.value.stderr)


def test_a_pod_needs_only_the_runtime_class(
    namespace: namespaces.Namespace, runtime_class: str
) -> None:
    """Admission adds the class's selector, toleration and overhead."""
    spec = {"runtimeClassName": runtime_class, "containers": [{"name": "main", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"}, "spec": spec}
    words = ("create", "--dry-run=server", "-o=json", "-f", "-")
    spec = json.loads(namespace.kubectl(*words, stdin=json.dumps(pod)))["spec"]

    assert spec["nodeSelector"] == {"kubernetes.io/arch": "wasm32-wasi"}
    assert spec["overhead"] == {"memory": "4Mi"}
    assert {"key": "kubernetes.io/arch", "operator": "Equal", "value": "wasm32-wasi"} in [
        {name: each[name] for name in ("key", "operator", "value") if name in each}
        for each in spec["tolerations"]
    ]
