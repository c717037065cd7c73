"""Health checks of the agent's process, over real HTTP."""

import asyncio
import time
import urllib.error
import urllib.request

import aiohttp
import pytest

from wasm_node.agent import errors
from wasm_node.agent.server import liveness


async def _ask(port: int, path: str = "/healthz") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


def _hold_the_loop_until_it_is_noticed(port: int) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
    raise AssertionError("nobody noticed")


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
async def test_it_says_what_the_agent_does(ready: bool, status: int) -> None:
    """Alive whatever it waits for; ready only if that is said."""
    telling = liveness.Liveness()
    telling.say("standing by: somebody", ready=ready)
    async with telling.run("127.0.0.1", 0) as port:
        healthz, readyz = await _ask(port), await _ask(port, "/readyz")

    assert (200, "standing by: somebody\n") == healthz
    assert (status, "standing by: somebody\n") == readyz


async def test_a_loop_that_is_stuck_is_not_alive() -> None:
    """It is said while the loop is stuck, and taken back when it turns."""
    telling = liveness.Liveness(stuck_s=0.2)
    async with telling.run("127.0.0.1", 0) as port, asyncio.TaskGroup() as group:
        beating = group.create_task(telling.beat())
        assert 200 == (await _ask(port))[0]
        said = _hold_the_loop_until_it_is_noticed(port)
        async with asyncio.timeout(10):
            while (await _ask(port))[0] != 200:
                await asyncio.sleep(0.01)
        beating.cancel()

    assert "stuck: the agent's loop has not turned" in said


async def test_an_address_in_use_is_said() -> None:
    """A port that is taken stops the start, with what to do."""
    first, second = liveness.Liveness(), liveness.Liveness()
    async with first.run("127.0.0.1", 0) as port:
        with pytest.raises(errors.GaveUp, match=f"port {port}: .*in use; choose another"):
            async with second.run("127.0.0.1", port):
                pass
