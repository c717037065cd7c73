"""A real kubelet API on loopback, with real certificates and real logs."""

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import trustme

from tests.fakes.reviewer import FakeReviewer
from wasm_node.agent import settings
from wasm_node.agent.logs import changes, pods, store
from wasm_node.agent.model import ids, podstatus
from wasm_node.agent.server import kubelet
from wasm_node.protocol import records

WEB = ids.PodRef("default", "web", ids.pod_uid("u-1"))
STAMP = b"2026-11-22T12:00:00.000000000Z stdout F "


async def figures() -> bytes:
    """Return what the node has counted."""
    return b"wasm_node_pods 3\n"


class Node:
    """
    A node with the pod default/web, whose container `main` runs attempt 0.

    Attributes:
        running: attempt numbers that have not ended.
        port: of its kubelet API.
        reviewer: its word on users.
        server: the API itself.
    """

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.clients = trustme.CA()
        self.running = {0}
        self.port = 0
        self.reviewer = FakeReviewer()
        self.reviewer.allowed.add(("kube-apiserver", "get", "proxy"))
        self.logs = store.CriLogStore(directory / "logs")
        self.logs.root.mkdir()
        self.log = self.logs.path(WEB, "main", 0)
        self.log.touch()
        self.files = settings.Kubelet(
            bind="127.0.0.1",
            port=0,
            certificate_file=directory / "serving.crt",
            key_file=directory / "serving.key",
            client_ca_file=directory / "clients.crt",
        )
        self.issue()
        self.clients.cert_pem.write_to_path(self.files.client_ca_file)
        self.news = changes.Changes()
        self.server = self.make_server()

    def make_server(self, **limits: float) -> kubelet.KubeletServer:
        """Return a server of this node."""
        logs = pods.PodLogs(self.logs, self.news, look_up=self.look_up, is_running=self.is_running)
        return kubelet.KubeletServer(
            self.files,
            "wasm-1",
            self.reviewer,
            logs,
            figures,
            **{"silent_s": 60.0, **limits},  # type: ignore[arg-type]  # by name
        )

    def issue(self) -> None:
        """Give the server a new certificate."""
        made = self.authority.issue_cert("127.0.0.1")
        made.private_key_pem.write_to_path(self.files.key_file)
        made.cert_chain_pems[0].write_to_path(self.files.certificate_file)

    def look_up(self, namespace: str, name: str) -> pods.Reported | None:
        """Report the one pod."""
        if (namespace, name) != (WEB.namespace, WEB.name):
            return None
        state = podstatus.State(running=podstatus.RunningState("2026-11-22T12:00:00Z"))
        waiting = podstatus.State(waiting=podstatus.Waiting("ContainerCreating"))
        return pods.Reported(WEB, (_container("main", state), _container("slow", waiting)))

    def is_running(self, attempt: records.AttemptId) -> bool:
        """Say whether the attempt runs."""
        return attempt.attempt in self.running

    def write(self, *lines: bytes) -> None:
        """Append lines to the log of attempt 0."""
        with self.log.open("ab") as file:
            file.writelines(STAMP + each + b"\n" for each in lines)

    def end(self) -> None:
        """Let attempt 0 end."""
        self.running.clear()
        self.news.notify(self.log)

    def tls(
        self, name: str | None = "kube-apiserver", *, by: trustme.CA | None = None
    ) -> ssl.SSLContext:
        """Return a client's TLS, with a certificate if it has a name."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if name is not None:
            issuer = by or self.clients
            issuer.issue_cert(common_name=name, organization_name="ops").configure_cert(context)
        return context

    def url(self, path: str = "/containerLogs/default/web/main") -> str:
        """Return the address of a path."""
        return f"https://127.0.0.1:{self.port}{path}"


def _container(name: str, state: podstatus.State) -> podstatus.ContainerStatus:
    return podstatus.ContainerStatus(
        name=name,
        image="",
        image_id="",
        container_id=f"wasmtime://{WEB.uid}/{name}/0",
        ready=False,
        started=False,
        restart_count=0,
        state=state,
        last_state=podstatus.State(),
    )


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; the deadline is ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # of another party that has no event
            await asyncio.sleep(0.005)


@dataclasses.dataclass
class Answer:
    """A whole answer."""

    status: int
    text: str


class Client:
    """A real client, with the API server's certificate by default."""

    def __init__(self, node: Node, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.session = session
        self.context = node.tls()

    async def get(
        self,
        path: str = "/containerLogs/default/web/main",
        *,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        method: str = "GET",
    ) -> Answer:
        """Ask, and read the whole answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.session.request(
            method, self.node.url(path), ssl=tls or self.context, headers=headers
        ) as answer:
            return Answer(answer.status, await answer.text())


@pytest.fixture
def unstarted(tmp_path: Path) -> Node:
    """Return a node whose server does not run."""
    return Node(tmp_path)


@pytest.fixture
async def node(unstarted: Node) -> AsyncIterator[Node]:
    """Return a node that serves."""
    with unstarted.news:
        async with unstarted.server.run() as port:
            unstarted.port = port
            yield unstarted


@pytest.fixture
async def client(node: Node) -> AsyncIterator[Client]:
    """Return a client of the node that keeps no connection."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Client(node, session)
