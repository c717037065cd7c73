"""A real registry for the tests of pulling, started once."""

from collections.abc import Iterator

import pytest

from e2e.cluster import Guard, Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Give a running registry, on loopback, over plain HTTP."""
    with Guard.start() as guard:
        yield Registry.start(guard, tmp_path_factory.mktemp("registry") / "data")
