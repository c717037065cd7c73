"""What chaos runs share."""

import pytest

from e2e.chaos import programs, workload
from e2e.cluster import Registry
from e2e.images import push_artifact


@pytest.fixture(scope="session")
def guests(registry: Registry, web: str) -> workload.Images:
    """Give the references of the guests."""
    module = programs.run().read_bytes()
    pushed = push_artifact(registry.address, "guests/run", module, layout="B")
    return workload.Images(pushed.reference, web)
