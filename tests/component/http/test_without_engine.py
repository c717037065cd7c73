"""Where only the engine of wasmtime's Python binding is."""

import pytest

from tests.component.http import programs
from tests.component.runtime import running
from wasm_node.agent import errors
from wasm_node.protocol import settings


async def test_a_component_for_http_says_what_to_install() -> None:
    """It is refused for what it imports, with what helps."""
    with running.runtime(engine=settings.WASMTIME_PY) as runtime:
        spec = runtime.spec(programs.component())
        with pytest.raises(errors.BadInput, match="install wasm-node-engine"):
            await runtime.started(spec)
