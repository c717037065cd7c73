"""
Deployments behind a real ClusterIP: kube-proxy, two nodes, an IP each.

Replicas are on both nodes; the clients are on a host, as a user's are.
"""

# ruff: noqa: F401  # pytest collects what is imported
from collections.abc import Callable

import pytest

from e2e.cluster import hosts as cluster
from e2e.cluster import wait_until
from e2e.namespaces import Namespace
from e2e.test_http import (
    Service,
    test_a_plain_module_serves,
    test_a_service_loses_no_request,
    test_what_a_guest_prints_is_in_its_log,
)


@pytest.fixture
def reached(namespace: Namespace, hosts: cluster.Hosts) -> Callable[[str], Service]:
    """Give what finds a Service of the namespace: its own IP, as of a host."""

    def find(name: str) -> Service:
        address = namespace.get(f"services/{name}")["spec"]["clusterIP"]
        found = Service(address, hosts.hosts[0].in_network())
        wait_until(found.answers, "kube-proxy to know the endpoints", within_s=30)
        return found

    return find
