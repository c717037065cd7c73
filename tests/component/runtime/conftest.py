"""Runtimes for the tests of this room."""

from collections.abc import Iterator

import pytest

from tests.component.runtime import running


@pytest.fixture(scope="module")
def shared() -> Iterator[running.RunningRuntime]:
    """Return a runtime that all tests of a module use; pods tell them apart."""
    with running.runtime() as made:
        yield made


@pytest.fixture
def own() -> Iterator[running.RunningRuntime]:
    """Return a runtime of the test's own, to be hurt."""
    with running.runtime() as made:
        yield made
