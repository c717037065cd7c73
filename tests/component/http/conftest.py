"""A runtime for the tests of this room: they need the native engine."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.runtime import running
from wasm_node.protocol import settings

if importlib.util.find_spec("wasm_node_engine") is None:
    # Where no cargo is there is no such engine, and one test says what then.
    here = (each.name for each in Path(__file__).parent.glob("test_*.py"))
    collect_ignore = [each for each in here if each != "test_without_engine.py"]


@pytest.fixture(scope="module")
def runtime() -> Iterator[running.RunningRuntime]:
    """Return a runtime that all tests of a module use."""
    with running.runtime(engine=settings.NATIVE) as made:
        yield made
