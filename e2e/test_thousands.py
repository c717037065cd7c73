"""Thousands of idle HTTP pods on one node; a cluster of their own."""

import pytest

from e2e.bench import thousands
from e2e.cluster import Guard


@pytest.mark.long
@pytest.mark.timeout(2400)  # two thousand pods, made and removed
def test_two_thousand_pods_serve_http(
    guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All Ready, any of them answers, and at rest they cost nearly nothing."""
    # NB: short, as the path of a socket has 107 bytes.
    found = thousands.measure(guard, tmp_path_factory.mktemp("t"), 2000)

    assert found.pods == 2000
    assert found.pss_kib < 1536
    assert found.cpu_idle_ms < 0.2
