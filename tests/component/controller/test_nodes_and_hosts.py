"""Wasm nodes over real HTTP: when they are marked, when they go, when not."""

from collections.abc import Callable

import pytest

from tests.component.controller.conftest import (
    CSRS,
    LEASES,
    NODES,
    PODS,
    POLICY,
    Clock,
    Server,
    looked,
    running,
    until,
)
from wasm_node.controller import apiserver, hosting, upkeep

ARCH = {"kubernetes.io/arch": "wasm32-wasi"}
MARKS = {hosting.JOINED_BY: POLICY.release, hosting.HOST: "h1"}
NODE, HOST, LEASE = f"{NODES}/wasm-h1", f"{NODES}/h1", f"{LEASES}/wasm-h1"


@pytest.fixture
def keeping(api: apiserver.Api, clock: Clock) -> upkeep.Upkeep:
    """Give the loop, not running yet."""
    return upkeep.Upkeep(api, POLICY, clock)


async def test_a_node_is_marked_once_its_pod_is_seen(
    server: Server, keeping: upkeep.Upkeep
) -> None:
    """Without a pod of ours on the host it is nobody's, whatever its name."""
    server.put(NODE, metadata={"labels": ARCH})
    server.put(HOST, metadata={"labels": {"topology.kubernetes.io/zone": "z"}})

    async with running(keeping):
        keeping.look_at("wasm-h1")
        await looked(server, NODE, keeping.look_again)
        assert "annotations" not in server.objects[NODE]["metadata"]
        pod = {"nodeName": "h1", "serviceAccountName": "agent"}
        server.put(f"{PODS}/agent-1", spec=pod, status={})
        keeping.look_again()
        await until(lambda: "annotations" in server.objects[NODE]["metadata"])

    assert server.objects[NODE]["metadata"]["annotations"] == MARKS
    assert server.objects[NODE]["metadata"]["labels"] == {
        **ARCH,
        "topology.kubernetes.io/zone": "z",
    }


async def test_a_host_that_comes_back_keeps_its_node(
    server: Server, keeping: upkeep.Upkeep, clock: Clock
) -> None:
    """A host that registers anew is gone for a moment: time starts over."""
    server.put(NODE, metadata={"labels": ARCH, "annotations": MARKS})

    def a_minute_later() -> None:
        clock.now += 60
        keeping.look_again()

    async with running(keeping):
        keeping.look_at("wasm-h1")
        await looked(server, HOST, a_minute_later)
        server.put(HOST)
        await looked(server, HOST, a_minute_later)
        del server.objects[HOST]
        await looked(server, HOST, a_minute_later)
        await looked(server, HOST, a_minute_later)
        assert NODE in server.objects
        server.put(LEASE)
        clock.now += POLICY.stale_after_seconds
        keeping.look_again()
        await until(lambda: not {NODE, LEASE} & set(server.objects))


async def test_a_node_that_was_made_anew_is_not_deleted(
    server: Server, keeping: upkeep.Upkeep, clock: Clock
) -> None:
    """The Node that was judged is the one that goes: its uid has to match."""
    server.put(NODE, metadata={"labels": ARCH, "annotations": MARKS})

    def replace(method: str, _: str) -> None:
        if method == "DELETE":
            server.put(NODE, metadata={"labels": ARCH, "uid": "another"})

    async with running(keeping):
        keeping.look_at("wasm-h1")
        await looked(server, HOST, keeping.look_again)
        server.before = replace
        clock.now += POLICY.stale_after_seconds
        keeping.look_again()
        await until(lambda: ("DELETE", NODE) in server.asked)
        await looked(server, NODE, keeping.look_again)

    assert server.objects[NODE]["metadata"]["uid"] == "another"


async def test_a_rollout_is_no_load(server: Server, keeping: upkeep.Upkeep, clock: Clock) -> None:
    """Events of agents' pods have only unmarked nodes looked at."""
    server.put(NODE, metadata={"labels": ARCH, "annotations": MARKS})
    server.put(HOST)
    server.put(f"{NODES}/wasm-h2", metadata={"labels": ARCH})

    async with running(keeping):
        keeping.look_at("wasm-h1")
        keeping.look_at("wasm-h2")
        await looked(server, f"{NODES}/wasm-h2", keeping.look_again)
        before = server.asked.count(("GET", NODE))
        await looked(server, f"{NODES}/wasm-h2", keeping.look_again)

    assert server.asked.count(("GET", NODE)) == before > 0


async def test_a_renewed_token_is_read_again(
    server: Server, api: apiserver.Api, sign_in: Callable[[str], None]
) -> None:
    """The kubelet renews the file: the call after a refusal has the new one."""
    server.put(HOST)
    server.token = "second"  # noqa: S105  # of this test
    sign_in("second")

    with pytest.raises(apiserver.ApiError, match="401"):
        await api.find(HOST)

    assert await api.find(HOST) is not None


async def test_lists_are_read_to_their_end(server: Server, api: apiserver.Api) -> None:
    """A large cluster's lists come in pages."""
    for number in range(5):
        server.put(f"{CSRS}/{number}")

    found = await api.items(CSRS, {})

    assert [each["metadata"]["name"] for each in found] == list("01234")
