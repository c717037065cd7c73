"""
Tests of tier a, run as they are on hosts with real kubelets.

Those were chosen that say nothing about how the node was made: pods, Jobs,
Deployments, logs and endings are what a user meets, whatever is below.
"""

# ruff: noqa: F401  # pytest collects what is imported
from e2e.test_deployment import (
    test_a_deleted_deployment_takes_its_pods_along,
    test_a_deployment_scales,
    test_a_rollout_replaces_every_pod,
    ticker,
)
from e2e.test_endings import (
    test_a_missing_import_waits_and_names_it,
    test_a_trap_is_told_with_its_backtrace,
    test_an_exit_code_is_the_guests_own,
    test_memory_over_the_limit_is_oom_killed,
)
from e2e.test_init_containers import (
    test_a_job_with_a_sidecar_completes,
    test_init_containers_run_one_after_the_other,
)
from e2e.test_job import test_a_failing_job_is_retried_and_given_up, test_a_job_completes
from e2e.test_logs import (
    test_a_log_is_followed_to_its_end,
    test_following_ends_when_the_pod_is_deleted,
    test_the_previous_attempt_has_its_own_log,
)
from e2e.test_pod import (
    test_a_missing_configmap_is_waited_for,
    test_a_pod_runs_and_its_log_comes_back,
    test_a_running_pod_is_reported_as_a_kubelet_reports_it,
    test_each_container_has_its_own_life_and_log,
    test_the_environment_comes_from_where_the_manifest_says,
    test_the_usual_events_are_told,
    test_what_this_node_cannot_do_is_refused_by_name,
)
from e2e.test_stop import test_a_job_like_guest_may_finish, test_grace_has_an_end
from e2e.test_volumes import test_a_volume_outlives_its_containers, test_containers_share_a_volume
