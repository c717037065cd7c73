"""No request passes without a name and the cluster's word."""

import asyncio

import aiohttp
import pytest
import trustme

from tests.component.server.conftest import Client, Node, until
from wasm_node.agent.model import access

LOGS = "/containerLogs/default/web/main"


@pytest.mark.parametrize("path", ["/healthz", "/metrics", LOGS, "/pods", "/nothing"])
async def test_without_a_name_nobody_gets_anything(client: Client, path: str) -> None:
    """No certificate and no token is 401, on every path, asking nobody."""
    answer = await client.get(path, tls=client.node.tls(None))

    assert (answer.status, answer.text) == (401, "Unauthorized")
    assert client.node.reviewer.asked == []


async def test_a_name_without_the_right_gets_nothing(client: Client) -> None:
    """A valid certificate of the client CA is not enough to read logs."""
    answer = await client.get(tls=client.node.tls("ann"))

    assert answer.status == 403
    assert answer.text == (
        "Forbidden (user=ann, verb=get, resource=nodes, subresource(s)=[proxy])\n"
    )


async def test_name_and_groups_come_from_the_certificate(client: Client) -> None:
    """CN and O, and that somebody is authenticated, are what is asked about."""
    await client.get(tls=client.node.tls("ann"))

    assert client.node.reviewer.asked == [
        (
            access.Identity("ann", ("ops", "system:authenticated")),
            access.Access("get", "wasm-1", "proxy"),
        )
    ]


async def test_a_group_may_have_the_right(client: Client) -> None:
    """What is granted to a certificate's group counts for its user."""
    client.node.reviewer.allowed |= {("ops", "get", "healthz"), ("ops", "get", "metrics")}

    answers = [
        await client.get(path, tls=client.node.tls("ann")) for path in ("/healthz", "/metrics")
    ]

    assert [(200, "ok"), (200, "wasm_node_pods 3\n")] == [
        (each.status, each.text) for each in answers
    ]


async def test_a_coarser_right_is_enough(client: Client) -> None:
    """Who has nodes/proxy needs no nodes/healthz."""
    assert (await client.get("/healthz")).status == 200
    subresources = [
        each[1].subresource for each in client.node.reviewer.asked if not isinstance(each, str)
    ]
    assert subresources == ["healthz", "proxy"]


async def test_a_certificate_of_another_authority_is_refused(client: Client) -> None:
    """What the client CA did not sign ends in the handshake."""
    stranger = client.node.tls("kube-apiserver", by=trustme.CA())

    with pytest.raises(aiohttp.ClientError):
        await client.get(tls=stranger)
    assert client.node.reviewer.asked == []


async def test_the_serving_authority_signs_no_clients(client: Client) -> None:
    """A server's own authority is no authority for clients."""
    with pytest.raises(aiohttp.ClientError):
        await client.get(tls=client.node.tls("kube-apiserver", by=client.node.authority))


async def test_a_bearer_token_names_its_user(client: Client) -> None:
    """A token is reviewed once and then remembered; an unknown one is 401."""
    reviewer = client.node.reviewer
    reviewer.tokens["secret"] = access.Identity("system:serviceaccount:mon:prom")
    reviewer.allowed.add(("system:serviceaccount:mon:prom", "get", "proxy"))
    anonymous = client.node.tls(None)
    answers = [
        (await client.get(tls=anonymous, token=token)).status
        for token in ("secret", "secret", "wrong")
    ]

    assert answers == [200, 200, 401]
    assert [each for each in reviewer.asked if isinstance(each, str)] == ["secret", "wrong"]


@pytest.mark.parametrize("header", ["Basic c2VjcmV0", "Bearer", "Bearer  ", "secret"])
async def test_only_bearer_tokens_are_tokens(client: Client, header: str) -> None:
    """Another scheme, or no token behind it, is nobody."""
    async with client.session.get(
        client.node.url(), ssl=client.node.tls(None), headers={"Authorization": header}
    ) as answer:
        assert answer.status == 401
    assert client.node.reviewer.asked == []


@pytest.mark.parametrize("token", [None, "secret"])
async def test_where_nobody_can_be_asked_nobody_may(client: Client, token: str | None) -> None:
    """An API server that is away is 500 with the reason, never an allowance."""
    client.node.reviewer.away = True
    answer = await client.get(tls=client.node.tls(None) if token else None, token=token)

    assert answer.status == 500
    assert answer.text == "cannot check who asks: the API server is away\n"


async def test_a_failed_review_is_asked_again(client: Client) -> None:
    """Once the API server is back, the next request passes."""
    client.node.reviewer.away = True
    await client.get()
    client.node.reviewer.away = False

    assert (await client.get()).status == 200


async def test_decisions_are_remembered_and_shared(client: Client) -> None:
    """Twenty requests at once, and one later, are one review."""
    reviewer = client.node.reviewer
    reviewer.answering.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.get()) for _ in range(20)]
        await until(lambda: bool(reviewer.asked))
        reviewer.answering.set()
    later = await client.get()

    assert [each.result().status for each in tasks] == [200] * 20
    assert later.status == 200
    assert len(reviewer.asked) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/pods", 404), ("POST", LOGS, 405), ("HEAD", "/healthz", 405), ("GET", "/", 404)],
)
async def test_unknown_paths_are_authorized_too(
    client: Client, method: str, path: str, status: int
) -> None:
    """What is not served says so only to those who may ask."""
    assert (await client.get(path, method=method)).status == status
    assert (await client.get(path, method=method, tls=client.node.tls("ann"))).status == 403


async def test_big_headers_are_refused(node: Node) -> None:
    """A header beyond the bound is 400, before anything is looked at."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(node.url(), ssl=node.tls(), headers={"X-Big": "x" * 20_000}) as answer,
    ):
        assert answer.status == 400
    assert node.reviewer.asked == []
