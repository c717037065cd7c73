"""What guests may ask of others, and what they are told where they may not."""

import uuid

import aiohttp
import pytest

from tests.component.http import serving
from tests.component.runtime import running
from wasm_node.agent.model import grants
from wasm_node.protocol import records

Runtime = running.RunningRuntime
NO_TLS = "error 12"
DENIED, PROHIBITED = serving.DENIED, serving.PROHIBITED


@pytest.mark.parametrize(
    ("grants", "asked", "answer"),
    [
        ((), "127.0.0.1:PORT", DENIED),
        ((), "localhost:PORT", DENIED),
        (("127.0.0.1:PORT",), "127.0.0.1:PORT", "204"),
        (("127.0.0.0/8:*",), "127.0.0.1:PORT", "204"),
        (("127.0.0.1",), "127.0.0.1:PORT", DENIED),
        (("127.0.0.1:PORT",), "127.0.0.2:PORT", DENIED),
        (("127.0.0.1:PORT",), "localhost:PORT", DENIED),
        (("localhost:PORT",), "localhost:PORT", PROHIBITED),
        (("localhost:PORT", "127.0.0.0/8:PORT"), "localhost:PORT", "204"),
        (("*.example.org:*",), "127.0.0.1:PORT", DENIED),
    ],
)
async def test_who_may_be_asked(
    runtime: Runtime, grants: tuple[str, ...], asked: str, answer: str
) -> None:
    """Address and name are checked, and the address that a name is of."""
    async with serving.neighbour() as port:
        given = records.Grants(tuple(each.replace("PORT", str(port)) for each in grants))
        async with (
            serving.worker(runtime, grants=given) as worker,
            aiohttp.ClientSession() as client,
            client.get(worker.url(f"/ask?{asked.replace('PORT', str(port))}")) as got,
        ):
            assert await got.text() == answer
            denied = (await worker.stats())["denied_outgoing"]

    assert (denied > 0) == (answer in {DENIED, PROHIBITED})


async def test_what_is_no_tls_is_not_trusted(runtime: Runtime) -> None:
    """TLS to a server without TLS fails before anything is sent."""
    async with serving.neighbour() as port:
        given = records.Grants((f"127.0.0.1:{port}",))
        async with (
            serving.worker(runtime, grants=given) as worker,
            aiohttp.ClientSession() as client,
            client.get(worker.url(f"/asks?127.0.0.1:{port}")) as got,
        ):
            assert await got.text() == NO_TLS


async def test_a_denial_is_told_once(runtime: Runtime) -> None:
    """Each is counted; the log has one line for a target."""
    async with serving.worker(runtime) as worker, aiohttp.ClientSession() as client:
        for target in ("a.example:80", "a.example:80", "b.example:80"):
            async with client.get(worker.url(f"/ask?{target}")) as got:
                assert await got.text() == DENIED

        assert (await worker.stats())["denied_outgoing"] == 3
        assert worker.log() == [
            f"stderr denied HTTP requests to {target}: the pod's grants do not allow it"
            for target in ("a.example:80", "b.example:80")
        ]


_TARGETS = (
    *("a.example", "a.example:8443", "*.example.org:*", "a_b.c-d", "10.0.0.0/8:*", "10.1.2.3/8"),
    *("[fd00::/8]:*", "[::1]", "[10.0.0.1]:80", "192.0.2.1:65535", "*", "*.", "a..b", "a:b", "a:"),
    *("a:65536", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "[fd00::1", "[::1]80", "http://x", "1.2.3"),
    *(
        "a/8",
        "x:*:1",
        "fd00::1",
        "fe80::1%eth0",
        "[fe80::1%eth0]:1",
        "01.2.3.4",
        "*.1.2.3.4",
        "\u00e9.a",
    ),
)


@pytest.mark.parametrize("target", _TARGETS)
async def test_a_grant_is_read_alike_by_agent_and_engine(runtime: Runtime, target: str) -> None:
    """What passes as an annotation starts; what is refused would not."""
    takes = {
        grants.HOSTS: records.Grants(outgoing_http=(target,)),
        grants.CONNECTIONS: records.Grants(connect=(target,)),
    }
    for annotation, given in takes.items():
        spec = runtime.spec("exit", "0", pod=f"p{uuid.uuid4()}")
        how = await runtime.run(serving.granted(spec, given))
        try:
            grants.parse({annotation: target})
        except ValueError:
            assert how.reason == "StartError"
        else:
            assert how.reason == "Completed"


async def test_a_grant_that_cannot_be_read(runtime: Runtime) -> None:
    """The start says which it is, and how to write it."""
    given = records.Grants(connect=("db.example:5432",))
    spec = runtime.spec("exit", "0", pod="unreadable")
    how = await runtime.run(serving.granted(spec, given))

    assert how.reason == "StartError"
    assert "db.example:5432" in how.message
    assert "10.0.0.0/8:5432" in how.message
