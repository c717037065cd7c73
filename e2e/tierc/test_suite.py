"""
Tests of tiers a and b, run as they are in a cluster of kind.

What a user does first, whatever the cluster: pods, a Deployment, their logs,
`helm test`, and `helm uninstall`.
"""

# ruff: noqa: F401  # pytest collects what is imported
from e2e.test_deployment import (
    test_a_deleted_deployment_takes_its_pods_along,
    test_a_deployment_scales,
    test_a_rollout_replaces_every_pod,
    ticker,
)
from e2e.test_logs import test_a_log_is_followed_to_its_end
from e2e.test_pod import test_a_pod_runs_and_its_log_comes_back
from e2e.tierb.test_install import (
    test_a_runtime_class_is_all_that_a_pod_needs,
    test_every_host_has_a_wasm_node,
    test_helm_test_runs_a_wasm_pod,
)
from e2e.tierb.test_uninstall import test_nothing_is_left
