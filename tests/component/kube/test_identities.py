"""
Who we are to an API server, and who it is to us: over real TLS.

The server here is one by name only: it says by which certificate it knows the
client, and otherwise does as it is told.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from blockbuster import BlockBuster
from cryptography import x509

from tests.fakes.clock import FakeClock
from tests.fakes.signer import FakeSigner
from wasm_node.agent import errors, identity, statedir
from wasm_node.agent.kube import authorities, client
from wasm_node.agent.loops import certificates
from wasm_node.agent.model import certificates as model

CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


class Server:
    """
    A TLS server, and what its clients need.

    Attributes:
        asks: whether clients are asked for a certificate.
        going_on: ends the pause in the middle of a watch.
        answers: status and body by path; `/who` and `/watch` are its own.
        connections: how many there are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca, self.clients = trustme.CA(), trustme.CA()
        self.trusted = self.ca
        self.certificate = self.ca.issue_cert("127.0.0.1")
        self.asks = ssl.CERT_OPTIONAL
        self.going_on = asyncio.Event()
        self.answers: dict[str, tuple[int, object]] = {}
        self.port = 0
        self._runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server
        assert server is not None
        return len(server.connections)

    @property
    def client_file(self) -> Path:
        """The client's certificate and key."""
        return self.directory / "client.pem"

    def issue(self) -> str:
        """Put a new client certificate on disk; return its serial number."""
        made = self.clients.issue_cert(common_name="system:node:a")
        self.client_file.write_bytes(made.cert_chain_pems[0].bytes() + made.private_key_pem.bytes())
        serial = x509.load_pem_x509_certificate(self.client_file.read_bytes()).serial_number
        return serial.to_bytes((serial.bit_length() + 7) // 8).hex().upper()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve for the length of the context."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.verify_mode = self.asks
        self.certificate.configure_cert(tls)
        self.clients.configure_trust(tls)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.port = self._runner.addresses[0][1]
        try:
            yield
        finally:
            await self._runner.cleanup()

    def kubeconfig(self) -> Path:
        """Write what leads to this server, as nobody."""
        ca = base64.b64encode(self.trusted.cert_pem.bytes()).decode()
        server = f"https://127.0.0.1:{self.port}"
        content = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority-data": ca}}
            ],
            "users": [{"name": "u", "user": {}}],
        }
        path = self.directory / "kubeconfig"
        path.write_text(json.dumps(content))
        return path

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/watch", self._watch)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path == "/who":
            return web.json_response({"serial": _serial(request)})
        status, body = self.answers[request.path]
        return web.json_response(body, status=status)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(f"{_serial(request)}\n".encode())
        await self.going_on.wait()
        await response.write(f"{_serial(request)}\n".encode())
        return response


def _serial(request: web.Request) -> str:
    return str((request.get_extra_info("peercert") or {}).get("serialNumber", ""))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Give a server that does not run yet."""
    return Server(tmp_path)


@pytest.fixture
async def api(server: Server, blocking_calls_fail: BlockBuster) -> AsyncIterator[client.Api]:
    """Give the API of a running server as the holder of a certificate."""
    blocking_calls_fail.deactivate()  # connecting reads files on a loop of its own
    server.issue()
    async with (
        server.run(),
        client.Api.connect(
            server.kubeconfig(),
            private=server.directory / "private",
            certificate=server.client_file,
        ) as made,
    ):
        blocking_calls_fail.activate()
        yield made


async def test_a_new_certificate_breaks_no_watch(server: Server, api: client.Api) -> None:
    """What runs goes on as it was; what begins is known by the new one."""
    old = (await api.call("GET", "/who"))["serial"]
    async with contextlib.aclosing(api.lines("/watch", {})) as lines:
        first = await anext(lines)
        new = server.issue()
        await api.renew()
        now = (await api.call("GET", "/who"))["serial"]
        server.going_on.set()
        rest = [line async for line in lines]

    assert (old, new) == (first.decode().strip(), now)
    assert [first] == rest
    assert old != new


async def test_connections_of_an_old_certificate_are_closed(
    server: Server, api: client.Api
) -> None:
    """At once if nothing runs over them, else when that has ended."""
    await api.call("GET", "/who")
    async with contextlib.aclosing(api.lines("/watch", {})) as lines:
        await anext(lines)
        server.issue()
        await api.renew()
        await api.call("GET", "/who")
        server.going_on.set()
        async for _ in lines:
            pass
    async with asyncio.timeout(10):
        while server.connections > 1:
            await asyncio.sleep(0.01)

    await api.renew()
    async with asyncio.timeout(10):
        while server.connections:
            await asyncio.sleep(0.01)


async def test_who_is_not_known_is_told(server: Server, api: client.Api) -> None:
    """A 401 is an error of its own, says what it may mean, and is noticed."""
    server.answers["/api/v1/pods"] = (401, {"message": "Unauthorized", "reason": "Unauthorized"})
    assert not api.refused.is_set()
    with pytest.raises(errors.Unauthorized, match=r"401 Unauthorized; .*another cluster"):
        await api.call("GET", "/api/v1/pods")

    assert api.refused.is_set()


async def test_a_cluster_that_refuses_what_it_signs_is_given_up(
    server: Server, blocking_calls_fail: BlockBuster
) -> None:
    """One new certificate is tried, no second; the text says where to look."""
    blocking_calls_fail.deactivate()  # connecting reads files on a loop of its own
    directory = statedir.StateDir(*(server.directory / each for each in ("s", "r", "l")))
    directory.make()
    clock = FakeClock()
    keeper = certificates.Keeper(model.client("a"), directory, clock)
    signer = FakeSigner(clock)
    server.asks = ssl.CERT_NONE
    server.answers["/apis/authentication.k8s.io/v1/selfsubjectreviews"] = (401, {})
    server.issue()
    keeper.path.write_bytes(server.client_file.read_bytes())
    async with (
        server.run(),
        client.Api.connect(
            server.kubeconfig(), private=directory.credentials, certificate=keeper.path
        ) as api,
    ):
        blocking_calls_fail.activate()
        with pytest.raises(errors.GaveUp, match=r"--cluster-signing-cert-file among those of"):
            await identity.OwnCertificate(keeper, signer, clock).be_accepted(api)

    assert 1 == len(signer.asked)


@pytest.mark.parametrize(
    ("status", "body", "known_by"),
    [
        (200, {"data": {"client-ca-file": "PEM of clients"}}, "the ConfigMap"),
        (200, {"data": {}}, "the API server's own"),
        (403, {"message": "forbidden"}, "the API server's own"),
        (404, {"message": "not found"}, "the API server's own"),
    ],
)
async def test_clients_are_known_by(
    server: Server, api: client.Api, status: int, body: object, known_by: str
) -> None:
    """The CA that the cluster publishes, else that of the API server."""
    server.answers[CONFIG_MAP] = (status, body)
    found = await authorities.of_clients(api)

    published = {"the ConfigMap": b"PEM of clients", "the API server's own": None}[known_by]
    assert (published or server.ca.cert_pem.bytes()) == found


async def test_an_api_server_in_trouble_publishes_nothing(server: Server, api: client.Api) -> None:
    """No answer is no reason to trust somebody else."""
    server.answers[CONFIG_MAP] = (500, {"message": "etcd is away"})
    with pytest.raises(errors.Retryable, match="etcd is away"):
        await authorities.of_clients(api)


@pytest.mark.parametrize(
    ("from_days", "to_days", "said"),
    [
        (-20, -10, "this host's clock says .*: if that is right, the server's expired"),
        (10, 20, "this host's clock says .*: is it slow"),
    ],
    ids=["expired", "of the future"],
)
async def test_an_api_server_of_another_time(
    server: Server,
    from_days: int,
    to_days: int,
    said: str,
    blocking_calls_fail: BlockBuster,
) -> None:
    """Its certificate and our clock do not fit: the text names both."""
    now = dt.datetime.now(dt.UTC)
    server.certificate = server.ca.issue_cert(
        "127.0.0.1",
        not_before=now + dt.timedelta(days=from_days),
        not_after=now + dt.timedelta(days=to_days),
    )
    await _is_not_trusted(server, said, blocking_calls_fail)


async def test_an_api_server_of_another_cluster(
    server: Server, blocking_calls_fail: BlockBuster
) -> None:
    """A CA that we do not know is perhaps another cluster's."""
    server.trusted = trustme.CA()
    await _is_not_trusted(server, "is it another cluster, or was its CA", blocking_calls_fail)


async def _is_not_trusted(server: Server, said: str, blocking_calls_fail: BlockBuster) -> None:
    blocking_calls_fail.deactivate()  # connecting reads files on a loop of its own
    async with (
        server.run(),
        client.Api.connect(server.kubeconfig(), private=server.directory / "private") as api,
    ):
        blocking_calls_fail.activate()
        with pytest.raises(errors.Retryable, match=said):
            await api.call("GET", "/who")
