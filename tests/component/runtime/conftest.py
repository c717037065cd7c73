"""Runtimes for the tests of this room, one for each engine that is here."""

from collections.abc import Iterator

import pytest

from tests.component.runtime import running


@pytest.fixture(scope="module", params=running.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Return the name of an engine: what holds, holds for each."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared(engine: str) -> Iterator[running.RunningRuntime]:
    """Return a runtime that all tests of a module use; pods tell them apart."""
    with running.runtime(engine=engine) as made:
        yield made


@pytest.fixture
def own(engine: str) -> Iterator[running.RunningRuntime]:
    """Return a runtime of the test's own, to be hurt."""
    with running.runtime(engine=engine) as made:
        yield made


@pytest.fixture
def ordinary(engine: str) -> Iterator[running.RunningRuntime]:
    """Return a runtime that has no privileges, as on a laptop."""
    words = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    with running.runtime(words, engine=engine) as made:
        yield made
