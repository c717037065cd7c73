"""Settings are checked as a whole, and say what is allowed."""

import json
from pathlib import Path

import pytest

from wasm_node.agent import errors, settings
from wasm_node.agent.model import collection

GOOD = {"nodeName": "wasm-a", "kubeconfig": "/etc/node.kubeconfig"}


def _file(directory: Path, content: object) -> Path:
    path = directory / "agent.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def test_two_lines_are_enough(tmp_path: Path) -> None:
    """A name and an identity; all else has a default that works."""
    read = settings.load(_file(tmp_path, GOOD))

    assert ("wasm-a", 10250, 10248) == (read.node_name, read.kubelet.port, read.health_port)
    assert not settings.is_set(read.kubelet.certificate_file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodeName": "Wasm_A"}, "nodeName is 'Wasm_A': use lower-case letters, digits, - and ."),
        ({"nodeName": "a" * 254}, "at most 253"),
        ({"nodeName": 3}, "nodeName: Expected `str`, got `int`"),
        ({"kubelet": {"port": "x"}}, "kubelet.port: Expected `int`, got `str`"),
        ({"kubelet": {"port": 65536}}, "kubelet.port is 65536: use 0 to 65535"),
        ({"kubelet": {"prot": 1}}, "kubelet: Object contains unknown field `prot`"),
        ({"kubelet": {"keyFile": "/k"}}, "keyFile: give both or none"),
        ({"kubelet": {"bind": "eth0"}}, "kubelet.bind is 'eth0': use a literal IP address"),
        ({"healthPort": -1}, "healthPort is -1: use 0 to 65535"),
        ({"address": {"value": "host"}}, "address.value is 'host': use a literal IP address"),
        ({"address": {"type": "Internal"}}, "use one of Hostname, ExternalIP, InternalIP"),
        ({"hostIp": "$(HOST_IP)"}, "hostIp is '$(HOST_IP)': use a literal IP address"),
        ({"maxPods": -5}, "maxPods is -5: use 0 (as many as fit) or more"),
        ({"maxContainerRestartPeriod": 0.5}, "maxContainerRestartPeriod is 0.5: use 1 to 300"),
        ({"heirWithin": "soon"}, "heirWithin: cannot read 'soon' as a duration: use a form like"),
        ({"maxContainerRestartPeriod": 301}, "maxContainerRestartPeriod is 301: use 1 to 300"),
        (
            {"evictionHard": {"memory.avail": "1Gi"}},
            "evictionHard: there is no signal memory.avail: use one of memory.available, "
            "nodefs.available, nodefs.inodesFree, pid.available",
        ),
        ({"evictionHard": {"imagefs.available": "15%"}}, "images and containers lie on nodefs"),
        ({"evictionHard": {"nodefs.available": "101%"}}, "is '101%': use 0% to 100%"),
        ({"evictionHard": {"nodefs.available": "ten%"}}, "is 'ten%': use 0% to 100%"),
        ({"evictionHard": {"nodefs.available": "1 GB"}}, "cannot read '1 GB' as a quantity"),
        ({"evictionHard": {"pid.available": 0}}, "evictionHard.pid.available is 0: use more than"),
        ({"evictionHard": {"pid.available": -1}}, "evictionHard.pid.available is -1: use more"),
        ({"evictionHard": {"pid.available": None}}, "evictionHard[...]: Expected `int | str`"),
        ({"evictionHard": "10%"}, "evictionHard: Expected `object`, got `str`"),
        (
            {"evictionSoft": {"memory.available": "1Gi"}},
            "evictionSoftGracePeriod.memory.available is missing: evictionSoft has",
        ),
        (
            {"evictionSoftGracePeriod": {"memory.available": "1m"}},
            "evictionSoftGracePeriod.memory.available: evictionSoft has no memory.available",
        ),
        (
            {
                "evictionSoft": {"pid.available": 9},
                "evictionSoftGracePeriod": {"pid.available": "x"},
            },
            "evictionSoftGracePeriod.pid.available: cannot read 'x' as a duration: use a form",
        ),
        ({"evictionMinimumReclaim": {"memory.available": "x"}}, "evictionMinimumReclaim.memory"),
        ({"evictionMaxPodGracePeriod": -1}, "evictionMaxPodGracePeriod is -1: use 0 or more"),
        ({"imageGCHighThresholdPercent": 101}, "imageGCHighThresholdPercent is 101: use 0 to 100"),
        ({"imageGCLowThresholdPercent": -1}, "imageGCLowThresholdPercent is -1: use 0 to 100"),
        (
            {"imageGCHighThresholdPercent": 80},
            "imageGCLowThresholdPercent is 80: use less than imageGCHighThresholdPercent, 80",
        ),
        ({"imageMinimumGCAge": "2"}, "imageMinimumGCAge: cannot read '2' as a duration"),
        ({"imageMaximumGCAge": "x"}, "imageMaximumGCAge: cannot read 'x' as a duration"),
        (
            {"imageMaximumGCAge": "2m"},
            "imageMaximumGCAge is 2m: use 0s, or more than imageMinimumGCAge, 2m",
        ),
        ({"imageGcHighThresholdPercent": 90}, "there is no setting imageGcHighThresholdPercent"),
        ({"evictionPressureTransitionPeriod": "5"}, "evictionPressureTransitionPeriod: cannot"),
        ({"nodename": "x"}, "there is no setting nodename"),
        ({"bootstrap": {"kubeconfig": "/b"}}, "bootstrap.kubeconfig: give one of them"),
        ({"kubeconfig": ""}, "this is no pod with a service account: give one of them"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, object], said: str) -> None:
    """The text names the file, the field, and what is allowed."""
    path = _file(tmp_path, GOOD | change)
    with pytest.raises(errors.BadInput) as caught:
        settings.load(path)

    assert f"cannot use settings {path}: " in str(caught.value)
    assert said in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Nobody has to start it three times to mend three fields."""
    path = _file(tmp_path, {"maxPods": "many", "address": 5, "lables": {}})
    with pytest.raises(errors.BadInput) as caught:
        settings.load(path)

    for field in ("maxPods", "address", "lables", "nodeName"):
        assert field in str(caught.value)


@pytest.mark.parametrize("content", ["[", "- a", "", "x"])
def test_a_file_without_settings_is_refused(tmp_path: Path, content: str) -> None:
    """Broken YAML, a list, nothing and a word are no settings."""
    path = tmp_path / "agent.yaml"
    path.write_text(content)
    with pytest.raises(errors.BadInput, match="cannot use settings"):
        settings.load(path)


def test_flags_count_more_than_the_file(tmp_path: Path) -> None:
    """What differs by host comes as flags; the rest of a section stays."""
    path = _file(tmp_path, GOOD | {"address": {"type": "ExternalIP"}, "hostIp": "10.0.0.1"})
    read = settings.load(path, node_name="wasm-b", address="10.0.0.3", host_ip="10.0.0.4")

    assert ("wasm-b", "10.0.0.4") == (read.node_name, read.host_ip)
    assert settings.Address(type="ExternalIP", value="10.0.0.3") == read.address


def test_eviction_is_read_as_the_kubelets(tmp_path: Path) -> None:
    """All of it at once, in the names and forms of KubeletConfiguration."""
    given = {
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "5%"},
        "evictionSoft": {"memory.available": "500Mi"},
        "evictionSoftGracePeriod": {"memory.available": "1m30s"},
        "evictionMinimumReclaim": {"memory.available": "100Mi"},
        "evictionMaxPodGracePeriod": 60,
        "evictionPressureTransitionPeriod": "2m0s",
    }
    rules = settings.load(_file(tmp_path, GOOD | given)).eviction
    memory = [each for each in rules.thresholds if each.signal == "memory.available"]

    assert [(each.value.fixed >> 20, each.grace_s) for each in memory] == [(200, 0), (500, 90)]
    assert {each.reclaim.fixed >> 20 for each in memory} == {100}
    assert (rules.most_pod_grace_s, rules.transition_s) == (60, 120)
    assert settings.load(_file(tmp_path, GOOD)).eviction.transition_s == 300


def test_collection_is_read_as_the_kubelets(tmp_path: Path) -> None:
    """In the names, forms and defaults of KubeletConfiguration."""
    given = {
        "imageGCHighThresholdPercent": 90,
        "imageGCLowThresholdPercent": 70,
        "imageMinimumGCAge": "1m",
        "imageMaximumGCAge": "336h",
    }

    assert settings.load(_file(tmp_path, GOOD | given)).collection == collection.Rules(
        high_percent=90, low_percent=70, least_age_s=60, most_idle_s=14 * 24 * 3600
    )
    assert settings.load(_file(tmp_path, GOOD)).collection == collection.Rules(
        high_percent=85, low_percent=80, least_age_s=120, most_idle_s=0
    )
