"""A program beside a container that serves HTTP: it is no server itself."""

import aiohttp
import pytest

from tests.component.http import programs, serving
from tests.component.runtime import executing, running
from wasm_node.agent import errors
from wasm_node.agent.model import ids, image


def _own(worker: serving.Worker, *argv: str) -> image.Program:
    path = programs.module() if worker.spec.http and worker.spec.http.mode == "wagi" else None
    path = path or programs.component()
    return image.Program(path, ids.Digest(running.digest(path)), image.Kind.MODULE, argv)


async def test_another_module_runs_beside_a_server(runtime: running.RunningRuntime) -> None:
    """It has the server's environment and ends; the server goes on."""
    async with (
        serving.worker(runtime, memory=64 << 20) as worker,
        aiohttp.ClientSession() as client,
    ):
        said = await executing.told(runtime, worker.spec.id, running.command("env"))
        async with client.get(worker.url("/hello")) as got:
            status = got.status

    assert (b"GREETING=hello\n", 0, 200) == (said.out, said.how.code, status)


async def test_a_module_by_wagi_may_be_run(runtime: running.RunningRuntime) -> None:
    """As a command it writes to whoever runs it, head and body."""
    env = [("PATH_INFO", "/hello")]
    async with serving.worker(runtime, program=programs.module(), mode="wagi", env=env) as worker:
        said = await executing.told(runtime, worker.spec.id, _own(worker, "cgi"))

    assert said.how.code == 0
    assert said.out.endswith(b"\nhello from cgi\n")


async def test_a_server_has_no_start(runtime: running.RunningRuntime) -> None:
    """To run it once more beside itself is refused, with what would do."""
    async with serving.worker(runtime) as worker:
        with pytest.RaisesGroup(pytest.RaisesExc(errors.BadInput, match="name an export")):
            await executing.told(runtime, worker.spec.id, _own(worker, "web"))
