"""Which Node is which host's, what it takes over, and what can be set."""

from pathlib import Path

import pytest
import yaml

from wasm_node.controller import hosting, known, names, objects, settings

GIVEN = {
    "namespace": "wasm-node",
    "agentServiceAccount": "wasm-node-agent",
    "agentSelector": {"app.kubernetes.io/component": "agent"},
    "nodeName": "wasm-{host}",
}
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


def load(path: Path, **changes: object) -> settings.Settings:
    """Load the settings, changed."""
    (path / "controller.yaml").write_text(yaml.safe_dump(GIVEN | changes))
    return settings.load(path / "controller.yaml")


def node(name: str = "wasm-h1", joined_by: str = "", host: str = "", **labels: str) -> known.Node:
    """Give a wasm node."""
    return known.Node(name, f"uid-of-{name}", True, joined_by, host, labels)


def test_settings_have_defaults_that_fit(tmp_path: Path) -> None:
    """Who the agents are and what their nodes are called has to be said."""
    found = load(tmp_path)

    assert found.release == "wasm-node/wasm-node-agent"
    assert found.bootstrap_group == "system:bootstrappers:wasm-node"
    assert (found.health_port, found.stale_after_seconds) == (8080, 300)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("namespace", "Wasm"),
        ("namespace", None),
        ("agentServiceAccount", "a:b"),
        ("agentSelector", {}),
        ("agentSelector", {"app": "a,b=c"}),
        ("nodeName", "{host}"),
        ("nodeName", "wasm"),
        ("nodeName", "wasm-{host}-{host}"),
        ("nodeName", "Wasm-{host}"),
        ("nodeName", "wasm-{node}"),
        ("bootstrapGroup", "system:bootstrappers"),
        ("bootstrapGroup", "system:masters"),
        ("healthPort", 0),
        ("healthPort", "http"),
        ("staleAfterSeconds", -1),
        ("nodename", "wasm-{host}"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, field: str, value: object) -> None:
    """The error has the file and the field: nothing starts with a guess."""
    with pytest.raises(settings.InvalidSettings) as caught:
        load(tmp_path, **{field: value})

    assert field in str(caught.value)
    assert "controller.yaml" in str(caught.value)


def test_wrong_settings_are_named_together(tmp_path: Path) -> None:
    """One look is enough to put all right."""
    with pytest.raises(settings.InvalidSettings, match=r"nodeName.*healthPort"):
        load(tmp_path, nodeName="{host}", healthPort=-1)


def test_a_template_knows_its_names() -> None:
    """A name of its form belongs to a host, which one has to be asked for."""
    template = names.Template("wasm-{host}.pool")

    assert template.node("h1") == "wasm-h1.pool"
    assert template.matches("wasm-h1.pool")
    assert not template.matches("wasm-.pool")
    assert not template.matches("wasm-h1")
    assert not template.matches("h1.pool")


@pytest.mark.parametrize("user", ["system:node:", "system:node:a/b", "system:node:A", "node:a", ""])
def test_what_is_no_node_has_no_name(user: str) -> None:
    """A name becomes part of a path: only a real one is one."""
    assert names.node_of(user) is None


def test_a_hostile_mark_names_no_host() -> None:
    """A node writes its own annotations, and a host's name becomes a path."""
    meta = {"name": "wasm-h1", "uid": "u", "annotations": {hosting.HOST: "../pods"}}

    assert objects.node({"metadata": meta}).host == ""


def test_only_agents_that_run_are_agents() -> None:
    """Labels are not enough, and the address of one that ended is free."""
    spec = {"serviceAccountName": "agent", "nodeName": "h1"}
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}
    body = {"metadata": {"name": "a", "uid": "u"}, "spec": spec, "status": status}
    found = objects.agent_pod(body, "agent")

    assert found is not None
    assert (found.host, sorted(map(str, found.ips))) == ("h1", ["10.0.0.1", "fd00::1"])
    assert objects.agent_pod(body, "web") is None
    assert objects.agent_pod(body | {"status": {"phase": "Failed"}}, "agent") is None


def test_whose_host_it_is(tmp_path: Path) -> None:
    """By the mark, or by the agent's pod until there is one, else nobody's."""
    policy = load(tmp_path)
    pod = known.AgentPod("a", "u", "h1", frozenset())
    ours = policy.release

    assert hosting.host_of(node(), policy, [pod]) == "h1"
    assert hosting.host_of(node(), policy, []) is None
    assert hosting.host_of(node("edge"), policy, [pod]) is None
    assert hosting.host_of(node(joined_by=ours, host="h1"), policy, []) == "h1"
    assert hosting.host_of(node(joined_by="other/agent", host="h1"), policy, [pod]) is None


def test_zone_and_region_are_the_hosts() -> None:
    """What the host has is copied; all else on the Node is left alone."""
    host = known.Node("h1", "u", False, "", "", {ZONE: "z", REGION: "r", "disk": "ssd"})
    marked = node(joined_by="us", host="h1", **{ZONE: "old", "mine": "x"})
    settled = node(joined_by="us", host="h1", **{ZONE: "z", REGION: "r", "mine": "x"})

    assert hosting.change(node(), host, "us") == hosting.Change(
        {ZONE: "z", REGION: "r"}, {hosting.JOINED_BY: "us", hosting.HOST: "h1"}
    )
    assert hosting.change(marked, host, "us") == hosting.Change({ZONE: "z", REGION: "r"}, {})
    assert hosting.change(settled, host, "us") is None
    assert hosting.change(settled, known.Node("h1", "u", False, "", "", {}), "us") is None
