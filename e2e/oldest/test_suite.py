"""
Tests of the newest Kubernetes, run as they are on the oldest supported.

Those were chosen that an older API server could fail: what it must serve,
take, sign and grant for a node to join, run pods and leave.
"""

# ruff: noqa: F401  # pytest collects what is imported
import re
from pathlib import Path

import pytest

from e2e import pods
from e2e.cluster import ControlPlane
from e2e.namespaces import Bed
from e2e.test_chart import (
    operator_kinds,
    runtime_class,
    test_a_pod_needs_only_the_runtime_class,
    test_an_overlay_of_deploy_is_taken,
    test_the_api_server_takes_every_object,
)
from e2e.test_deployment import (
    test_a_deleted_deployment_takes_its_pods_along,
    test_a_rollout_replaces_every_pod,
    ticker,
)
from e2e.test_endings import (
    test_a_component_ends_with_its_own_code,
    test_a_trap_is_told_with_its_backtrace,
    test_an_exit_code_is_the_guests_own,
)
from e2e.test_identity import (
    make,
    test_a_bootstrap_token_becomes_a_node,
    test_a_new_address_is_served_with_a_new_certificate,
    test_a_service_account_becomes_a_node,
)
from e2e.test_job import test_a_failing_job_is_retried_and_given_up
from e2e.test_logs import (
    counted,
    test_a_log_is_followed_to_its_end,
    test_logs_are_for_who_may_read_them,
    test_parts_of_a_log,
)
from e2e.test_node import (
    test_the_lease_is_renewed,
    test_the_node_asks_for_nothing_forbidden,
    test_the_node_keeps_linux_away,
)
from e2e.test_pod import (
    test_a_deleted_pod_leaves_nothing,
    test_a_pod_runs_and_its_log_comes_back,
    test_the_environment_comes_from_where_the_manifest_says,
    test_the_usual_events_are_told,
)

pytestmark = pytest.mark.long

_CHART = Path(__file__).parents[2] / "charts/wasm-node/Chart.yaml"


def test_this_is_the_oldest_that_the_chart_takes(plane: ControlPlane) -> None:
    """The API server is of the release that the chart's kubeVersion names."""
    named = re.search(r'^kubeVersion: ">=(\d+\.\d+)\.0-0"$', _CHART.read_text(), re.MULTILINE)

    assert named is not None
    assert plane.admin.get("/version")["gitVersion"].startswith(f"v{named[1]}.")


def test_what_it_does_not_know_of_a_node_is_passed_over(bed: Bed) -> None:
    """The node declares features there, too, and is Ready all the same."""
    node = bed.plane.admin.get(f"/api/v1/nodes/{bed.node.name}")

    assert pods.condition(node, "Ready")["status"] == "True"
    assert "declaredFeatures" not in node["status"]
