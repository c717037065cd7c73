"""The chart by itself: what it refuses, what it renders, what that may do."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render
from docs import chart_values
from tests.component.chart import rendering
from wasm_node.agent import settings as agent_settings
from wasm_node.agent.model import thresholds
from wasm_node.controller import settings as controller_settings


@pytest.fixture(scope="module")
def everything() -> list[rendering.Object]:
    """Return all that the chart can render."""
    return rendering.rendered(rendering.EVERYTHING)


def test_helm_finds_nothing_to_complain_about() -> None:
    """`helm lint --strict` passes."""
    assert "0 chart(s) failed" in rendering.helm("lint", "--strict", rendering.CHART)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"agent": {"replicas": 2}}, "replicas"),
        ({"nodename": "x-{host}"}, "nodename"),
        ({"nodeName": "wasm"}, "nodeName"),
        ({"nodeName": "{host}"}, "nodeName"),
        ({"image": {"digest": "sha256:123"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"agent": {"settings": {"address": {"type": "InternalDNS"}}}}, "type"),
        ({"agent": {"settings": {"maxPods": -1}}}, "maxPods"),
        ({"agent": {"settings": {"providerId": "cloud://one-for-all"}}}, "providerId"),
        ({"agent": {"settings": {"labels": {"node.kubernetes.io/x": "y"}}}}, "labels"),
        ({"agent": {"settings": {"insecureRegistries": ["http://a/b"]}}}, "insecureRegistries"),
        ({"agent": {"settings": {"evictionHard": {"memory": "1Gi"}}}}, "evictionHard"),
        ({"agent": {"settings": {"evictionHard": {"pid.available": "ten"}}}}, "evictionHard"),
        ({"agent": {"settings": {"evictionPressureTransitionPeriod": "5"}}}, "TransitionPeriod"),
        ({"agent": {"settings": {"imageGCHighThresholdPercent": 101}}}, "imageGCHigh"),
        ({"agent": {"settings": {"imageMinimumGCAge": "2"}}}, "imageMinimumGCAge"),
        ({"runtime": {"resources": {"requests": {"cpu": "1"}}}}, "requests"),
        ({"runtime": {"resources": {"limits": {"memory": None}}}}, "memory"),
        ({"hostPaths": {"state": "var/lib/x"}}, "state"),
        ({"bootstrapGroup": "system:masters"}, "bootstrapGroup"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_name(values: Mapping[str, Any], named: str) -> None:
    """Helm renders nothing and says which value it is."""
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        rendering.rendered(values)

    assert "don't meet the specifications of the schema" in refusal.value.stderr
    assert named in refusal.value.stderr


def test_every_value_says_what_it_means() -> None:
    """Each value has a comment of its own, and the page is made of them."""
    values = list(chart_values.values())

    assert [] == [each.path for each in values if each.default is not None and not each.meaning]
    assert chart_values.page() == chart_values.PAGE.read_text()


def test_the_manifests_of_deploy_are_the_charts() -> None:
    """`make manifests` would change nothing."""
    for path, text in render.pages().items():
        assert path.read_text() == text


def test_the_programs_take_the_settings(everything: list[rendering.Object], tmp_path: Path) -> None:
    """What the chart writes into the settings files, their readers accept."""
    for name in ("agent", "controller"):
        settings = rendering.one(everything, "ConfigMap", f"wasm-node-{name}")["data"]
        (tmp_path / f"{name}.yaml").write_text(settings[f"{name}.yaml"])
    (tmp_path / "kubeconfig").touch()
    with (tmp_path / "agent.yaml").open("a") as file:  # here is no pod to have a service account
        file.write(f"bootstrap: {{kubeconfig: {tmp_path}/kubeconfig}}\n")
    agent = agent_settings.load(tmp_path / "agent.yaml", node_name="wasm-a", address="10.0.0.1")
    controller = controller_settings.load(tmp_path / "controller.yaml")

    assert agent.heir_within_s == 15  # its DaemonSet surges
    assert (agent.address.type, agent.provider_id) == ("Hostname", "wasm-node://local/{node}")
    assert (controller.namespace, controller.node_name) == ("wasm-node", "wasm-{host}")
    assert "wasm-node-agent" == controller.agent_service_account


def test_the_controller_selects_the_agents(everything: list[rendering.Object]) -> None:
    """Its settings name the labels of the agents' pods, and of no others."""
    text = rendering.one(everything, "ConfigMap", "wasm-node-controller")["data"]["controller.yaml"]
    wanted = yaml.safe_load(text)["agentSelector"].items()
    selected = [
        each["metadata"]["name"]
        for each in everything
        if "template" in each.get("spec", {})
        and wanted <= each["spec"]["template"]["metadata"]["labels"].items()
    ]

    assert ["wasm-node-agent"] == selected


def test_nothing_is_privileged(everything: list[rendering.Object]) -> None:
    """No host namespaces, read-only roots, no rights but the runtime's few."""
    specs = list(rendering.pod_specs(everything))

    assert {"agent", "runtime", "controller", "uninstall", "wipe", "wiped"} == {
        name for name, _ in specs
    }
    for name, spec in specs:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            walls = container["securityContext"]
            assert walls["allowPrivilegeEscalation"] is False
            assert walls["readOnlyRootFilesystem"] is True
            assert walls["seccompProfile"] == {"type": "RuntimeDefault"}
            assert walls["capabilities"]["drop"] == ["ALL"]
            assert "privileged" not in walls
            as_root = (name, container["name"]) in {("runtime", "runtime"), ("wipe", "wipe")}
            assert ("add" in walls["capabilities"]) is as_root
            effective = {**spec.get("securityContext", {}), **walls}
            assert (
                effective.items()
                >= (
                    {"runAsUser": 0} if as_root else {"runAsNonRoot": True, "runAsUser": 64000}
                ).items()
            )


def test_all_of_it_runs_on_linux(everything: list[rendering.Object]) -> None:
    """No pod of the chart can land on a wasm node, whatever it tolerates."""
    for _, spec in rendering.pod_specs(everything):
        assert spec["nodeSelector"]["kubernetes.io/os"] == "linux"


def test_agent_and_runtime_share_hosts_and_directories(
    everything: list[rendering.Object],
) -> None:
    """Both are on the same hosts and mount the same three directories."""
    specs = dict(rendering.pod_specs(everything))
    shared = {
        (each["name"], each["hostPath"]["path"])
        for each in specs["agent"]["volumes"]
        if "hostPath" in each
    }

    assert {name for name, _ in shared} == {"state", "run", "logs"}
    assert shared == {
        (each["name"], each["hostPath"]["path"]) for each in specs["runtime"]["volumes"]
    }
    assert specs["agent"]["nodeSelector"] == specs["runtime"]["nodeSelector"]


def test_the_runtime_is_guaranteed(everything: list[rendering.Object]) -> None:
    """Requests are limits, and nothing replaces its pod but a person."""
    spec = rendering.one(everything, "DaemonSet", "wasm-node-runtime")["spec"]
    (container,) = spec["template"]["spec"]["containers"]

    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    assert spec["updateStrategy"] == {"type": "OnDelete"}


@pytest.mark.parametrize(
    ("groups", "told", "total_s"),
    [
        (None, "0=50,2000000000=10", 60),
        ([(-10, 5), (2000001000, 7), (1000, 300)], "-10=5,2000001000=7,1000=300", 312),
    ],
)
def test_wasm_pods_have_their_time_at_a_shutdown(
    groups: list[tuple[int, int]] | None, told: str, total_s: int
) -> None:
    """The runtime's pod has more than all of it, and the agent's even more."""
    listed = [{"priority": p, "shutdownGracePeriodSeconds": s} for p, s in groups or ()]
    values = {"runtime": {"shutdownGracePeriodByPodPriority": listed}} if listed else {}
    specs = dict(rendering.pod_specs(rendering.rendered(values)))
    (container,) = specs["runtime"]["containers"]
    graces = [specs[each]["terminationGracePeriodSeconds"] for each in ("runtime", "agent")]

    assert f"--shutdown-grace-period-by-pod-priority={told}" in container["args"]
    assert graces == [total_s + 30, total_s + 40]


def test_an_agent_that_hangs_is_replaced_soon() -> None:
    """It is not given the time that its pod has at a shutdown."""
    specs = dict(rendering.pod_specs(rendering.rendered()))
    (container,) = specs["agent"]["containers"]

    assert container["livenessProbe"]["terminationGracePeriodSeconds"] == 5


def test_eviction_is_the_agents_own_setting(tmp_path: Path) -> None:
    """Thresholds are checked by the chart, and read by the agent as written."""
    given = {
        "evictionHard": {"memory.available": "200Mi", "pid.available": 500},
        "evictionSoft": {"nodefs.available": "15%"},
        "evictionSoftGracePeriod": {"nodefs.available": "1m30s"},
        "imageMaximumGCAge": "336h",
    }
    made = rendering.rendered({"agent": {"settings": given}})
    config = rendering.one(made, "ConfigMap", "wasm-node-agent")["data"]["agent.yaml"]
    file = tmp_path / "agent.yaml"
    file.write_text(f"{config}\nnodeName: n\nkubeconfig: /k\n")
    read = agent_settings.load(file)
    rules = read.eviction

    soft = [each for each in rules.thresholds if not each.hard]
    assert [(each.signal, each.grace_s) for each in soft] == [("nodefs.available", 90.0)]
    assert rules.reserved(thresholds.Signal.MEMORY, 1 << 30) == 200 << 20
    assert rules.reserved(thresholds.Signal.PIDS, 10_000) == 500
    assert (read.collection.high_percent, read.collection.most_idle_s) == (85, 336 * 3600)


def test_every_right_has_a_reason() -> None:
    """Each rule of a role stands below a comment, and none has a wildcard."""
    for path in sorted((rendering.CHART / "templates").rglob("*.yaml")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if "- apiGroups:" in line:
                assert lines[number - 1].lstrip().startswith("# "), f"{path.name}:{number + 1}"
                assert "*" not in "".join(lines[number : number + 4]), f"{path.name}:{number + 1}"


def test_a_changed_setting_replaces_the_agents() -> None:
    """Their pod template differs, so they roll; the runtime's does not."""
    plain = rendering.rendered()
    changed = rendering.rendered({"agent": {"settings": {"labels": {"pool": "a"}}}})

    def template(objects: list[rendering.Object], name: str) -> object:
        return rendering.one(objects, "DaemonSet", name)["spec"]["template"]

    assert template(plain, "wasm-node-agent") != template(changed, "wasm-node-agent")
    assert template(plain, "wasm-node-runtime") == template(changed, "wasm-node-runtime")


def test_two_pools_share_nothing() -> None:
    """Two releases have no object, directory or pod in common."""
    pools = [
        rendering.rendered(
            {"nodeName": f"{name}-{{host}}", "runtimeClass": {"create": name == "a"}},
            release=f"wasm-node-{name}",
        )
        for name in ("a", "b")
    ]
    names, directories, selectors = (
        [
            {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
             for each in pool}
            for pool in pools
        ],
        [
            {volume["hostPath"]["path"] for _, spec in rendering.pod_specs(pool)
             for volume in spec.get("volumes", ()) if "hostPath" in volume}
            for pool in pools
        ],
        [
            {str(each["spec"]["selector"]) for each in pool if each["kind"] == "DaemonSet"}
            for pool in pools
        ],
    )  # fmt: skip

    for first, second in (names, directories, selectors):
        assert first
        assert not first & second


def test_alerts_and_dashboard_name_what_there_is(everything: list[rendering.Object]) -> None:
    """Every metric of ours in them is a documented one."""
    board = rendering.one(everything, "ConfigMap", "wasm-node-dashboard")["data"]["wasm-node.json"]
    rules = rendering.one(everything, "PrometheusRule", "wasm-node")
    named = set(re.findall(r"wasm_node_[a-z_]+", f"{board} {rules}"))
    documented = (rendering.CHART.parents[1] / "docs/metrics.md").read_text()
    bare = {re.sub(r"_bucket$", "", each) for each in named}
    assert "wasm_node_runtime_up" in bare
    assert [] == [each for each in sorted(bare) if f"`{each}`" not in documented]


def test_every_alert_says_what_to_do(everything: list[rendering.Object]) -> None:
    """Each has a summary and a line of a runbook."""
    (group,) = rendering.one(everything, "PrometheusRule", "wasm-node")["spec"]["groups"]

    assert group["rules"]
    for alert in group["rules"]:
        assert alert["annotations"].keys() == {"summary", "runbook"}
