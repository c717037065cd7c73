"""
The controller, on the oldest Kubernetes supported.

Apart from `test_suite`, because as long as it runs it decides on the requests
of every agent there is.
"""

# ruff: noqa: F401  # pytest collects what is imported
import pytest

from e2e.test_controller import (
    joining,
    test_a_kubelets_requests_are_not_touched,
    test_a_machine_joins_by_a_bootstrap_token,
    test_a_node_goes_with_its_host,
    test_a_node_serves_on_its_pods_address_alone,
    test_a_stolen_token_is_no_other_node,
    test_an_agent_becomes_the_node_of_its_host,
    test_an_unbound_token_is_nobody,
    test_remove_nodes_leaves_nothing_of_the_release,
)

pytestmark = pytest.mark.long
