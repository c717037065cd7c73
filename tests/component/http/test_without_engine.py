"""Where only the engine of wasmtime's Python binding is."""

import pytest

from tests.component.http import programs, serving
from tests.component.runtime import running
from wasm_node.agent import errors
from wasm_node.protocol import records, settings


@pytest.mark.parametrize(
    "granted",
    [records.Grants(outgoing_http=("a.example",)), records.Grants(dns=True)],
)
async def test_a_pod_that_is_to_reach_others_says_what_to_install(granted: records.Grants) -> None:
    """It would find nobody there: better not to start it."""
    with running.runtime(engine=settings.WASMTIME_PY) as runtime:
        spec = serving.granted(runtime.spec("exit", "0"), granted)
        with pytest.raises(errors.BadInput, match="reach others: install wasm-node-engine"):
            await runtime.started(spec)


async def test_ports_alone_need_no_engine() -> None:
    """Many a command names one that it does not use."""
    with running.runtime(engine=settings.WASMTIME_PY) as runtime:
        spec = serving.granted(runtime.spec("exit", "0"), records.Grants(listen=(80,)))
        assert (await runtime.run(spec)).code == 0


async def test_a_component_for_http_says_what_to_install() -> None:
    """It is refused for what it imports, with what helps."""
    with running.runtime(engine=settings.WASMTIME_PY) as runtime:
        spec = runtime.spec(programs.component())
        with pytest.raises(errors.BadInput, match="install wasm-node-engine"):
            await runtime.started(spec)
