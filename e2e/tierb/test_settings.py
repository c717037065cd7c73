"""A wrong setting stops the start with its name, and takes no node away."""

import subprocess

import pytest

from e2e.cluster import wait_until
from e2e.cluster.release import Release

_WITHIN_S = 60.0


def test_helm_refuses_a_wrong_value(release: Release) -> None:
    """A value of the wrong kind is refused by its name; nothing changes."""
    before = release.helm("history", release.name)

    with pytest.raises(subprocess.CalledProcessError) as refused:
        release.upgrade("--set=agent.settings.maxPods=many")

    assert "maxPods" in refused.value.__notes__[0]
    assert release.helm("history", release.name) == before


def test_an_agent_names_its_wrong_setting(release: Release) -> None:
    """The new agent does not start and says why; the old one serves on."""
    # A pod that is not ready yet, say after a reboot, is no loss: an update
    # ends it at once, whatever its surge.
    _settle(release)
    old = {pod["metadata"]["uid"] for pod in release.pods("agent")}
    release.upgrade("--skip-schema-validation", "--set=agent.settings.maxPods=-1")

    def refused() -> str | None:
        new = [pod for pod in release.pods("agent") if pod["metadata"]["uid"] not in old]
        said = "".join(map(release.log, new))
        return said if "maxPods" in said else None

    said = wait_until(refused, "the setting's name", within_s=_WITHIN_S)

    assert "maxPods is -1: use 0 (as many as fit) or more" in said
    assert all(map(release.hosts.plane.node_is_ready, release.nodes))
    assert old < {pod["metadata"]["uid"] for pod in release.pods("agent")}
    release.upgrade()
    _settle(release)


def _settle(release: Release) -> None:
    settled = ("rollout", "status", "daemonset/wasm-node-agent", "--timeout=60s")
    release.hosts.plane.kubectl(f"--namespace={release.name}", *settled)
