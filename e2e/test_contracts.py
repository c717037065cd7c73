"""The agent's interfaces to the API server, under their contract."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from e2e import namespaces
from e2e.cluster import ControlPlane, api
from tests.contract import pods, test_events, test_node_object, test_reviewer
from wasm_node.agent.asynckit import clock
from wasm_node.agent.kube import client, events, nodes, podsink, podsource, reviews
from wasm_node.agent.model import actions, ids

_NODE = "contract-node"
_COMBINED = "(combined from similar events): {}"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class _Cluster(pods.Home):
    """Pods bound by hand to a node that nobody runs."""

    def __init__(self, connection: client.Api, namespace: namespaces.Namespace) -> None:
        self.source = podsource.ApiPods(connection, _NODE)
        self.sink = podsink.ApiSink(connection)
        self.namespace = namespace.name
        self._user = namespace

    async def create(self, name: str) -> None:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": _NODE,
                "tolerations": [{"operator": "Exists"}],
                "containers": [
                    {
                        "name": "main",
                        "image": "x",
                        "envFrom": [
                            {"configMapRef": {"name": each, "optional": True}}
                            for each in ("settings", "nothing")
                        ],
                    }
                ],
            },
        }
        await self._kubectl("create", "-f", "-", stdin=json.dumps(pod))

    async def delete(self, name: str, grace_s: int) -> None:
        await self._kubectl("delete", "pod", name, f"--grace-period={grace_s}", "--wait=false")

    async def status(self, name: str) -> Mapping[str, Any] | None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        try:
            found = await asyncio.to_thread(self._user.bed.plane.admin.get, path)
        except api.Refused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        seen: Mapping[str, Any] = found["status"]
        return seen

    async def configure(self, name: str, key: str, value: str) -> None:
        await self._kubectl("create", "configmap", name, f"--from-literal={key}={value}")

    async def _kubectl(self, *words: str, stdin: str = "") -> None:
        await asyncio.to_thread(self._user.kubectl, *words, stdin=stdin)


class TestApiServer(pods.PodHomeContract):
    """PodSource and StatusSink over the API server."""

    @pytest.fixture
    async def home(
        self, namespace: namespaces.Namespace, tmp_path: Path
    ) -> AsyncIterator[pods.Home]:
        """Give a home in a namespace of its own."""
        async with _connected(namespace.bed.plane, tmp_path) as connection:
            with _node(namespace.bed.plane):
                yield _Cluster(connection, namespace)


@contextlib.asynccontextmanager
async def _connected(
    plane: ControlPlane, directory: Path, name: str = _NODE
) -> AsyncIterator[client.Api]:
    """Give the API server as `system:node:NAME` sees it."""
    credentials = plane.node_credentials(name, ["127.0.0.1"])
    private = directory / "private"
    async with client.Api.connect(credentials.kubeconfig, private=private) as connection:
        yield connection


@contextlib.contextmanager
def _node(plane: ControlPlane) -> Iterator[None]:
    """Have a Node of that name, which nobody runs."""
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": _NODE},
        "spec": {"unschedulable": True},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(node))
    yield
    plane.kubectl("delete", "node", _NODE)


class _NodeHome(test_node_object.Home):
    """Nodes of the API server, under a name of its own."""

    def __init__(self, connection: client.Api, plane: ControlPlane, name: str) -> None:
        self.name = name
        self.node = nodes.ApiNode(connection, name)
        self._plane = plane
        self._path = f"/api/v1/nodes/{name}"
        self._lease = f"{_LEASES}/{name}"

    async def read(self) -> dict[str, Any] | None:
        return await self._get(self._path)

    async def lease(self) -> dict[str, Any] | None:
        return await self._get(self._lease)

    async def change(self, change: Mapping[str, Any]) -> None:
        await self._patch(self._path, change)

    async def set_condition(self, condition: Mapping[str, Any]) -> None:
        await self._patch(f"{self._path}/status", {"status": {"conditions": [condition]}})

    async def delete(self) -> None:
        for path in (self._path, self._lease):
            with contextlib.suppress(api.Refused):
                await asyncio.to_thread(self._plane.admin.call, "DELETE", path)

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await asyncio.to_thread(self._plane.admin.get, path)
        except api.Refused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        return found

    async def _patch(self, path: str, change: Mapping[str, Any]) -> None:
        admin = self._plane.admin
        kind = api.STRATEGIC_MERGE_PATCH
        await asyncio.to_thread(admin.call, "PATCH", path, change, content_type=kind)


class TestApiNode(test_node_object.NodeObjectContract):
    """NodeObject over the API server."""

    @pytest.fixture
    async def home(
        self, plane: ControlPlane, tmp_path: Path
    ) -> AsyncIterator[test_node_object.Home]:
        """Give one for a Node that is not there; it is gone afterwards."""
        name = f"wasm-{secrets.token_hex(4)}"
        async with _connected(plane, tmp_path, name) as connection:
            made = _NodeHome(connection, plane, name)
            yield made
            await made.delete()


class _Board(test_events.Board):
    """Events of a namespace, as `kubectl get events` shows them."""

    def __init__(
        self, kept: events.ApiEvents, namespace: namespaces.Namespace, pod: ids.PodRef, node: str
    ) -> None:
        self._node = node
        self.events = kept
        self.pod = pod
        self._namespace = namespace

    async def read(self, pod: ids.PodRef) -> Sequence[actions.Event]:
        return [_event(each) for each in await self.objects(pod)]

    async def noted(self) -> Sequence[actions.Event]:
        kind = f"--field-selector=involvedObject.kind=Node,involvedObject.name={self._node}"
        words = ("--namespace=default", "get", "events", "-o=json", kind)
        listed = json.loads(await asyncio.to_thread(self._namespace.kubectl, *words))
        return [_event(each) for each in listed["items"]]

    async def objects(self, pod: ids.PodRef) -> Sequence[dict[str, Any]]:
        words = ("get", "events", "-o=json", f"--field-selector=involvedObject.uid={pod.uid}")
        listed = json.loads(await asyncio.to_thread(self._namespace.kubectl, *words))
        found: Sequence[dict[str, Any]] = listed["items"]
        return found


def _event(raw: Mapping[str, Any]) -> actions.Event:
    path = raw["involvedObject"].get("fieldPath", "")
    container = path.removeprefix("spec.containers").strip("{}")
    return actions.Event(raw["reason"], raw["message"], raw["type"] == "Warning", container)


class TestApiEvents(test_events.EventsContract):
    """Events over the API server."""

    @pytest.fixture
    async def board(
        self, namespace: namespaces.Namespace, tmp_path: Path
    ) -> AsyncIterator[test_events.Board]:
        """Give that of a namespace of its own."""
        pod = ids.PodRef(namespace.name, "web", ids.pod_uid("u-1"))
        node = f"wasm-{namespace.name}"
        async with _connected(namespace.bed.plane, tmp_path, node) as connection:
            kept = events.ApiEvents(
                connection,
                node,
                clock.SystemClock(),
                busy=lambda: False,
                field=lambda _pod, _name: "containers",
            )
            async with asyncio.TaskGroup() as group:
                running = group.create_task(kept.run())
                yield _Board(kept, namespace, pod, node)
                running.cancel()

    async def test_repeats_are_counted(self, board: _Board) -> None:
        """As client-go does it: one object, and how often."""
        for _ in range(3):
            board.events.emit(board.pod, actions.Event("Again", "and again"))
        board.events.emit(board.pod, actions.Event("Then", "another"))
        await board.until(board.pod, "Then")

        counts = {each["reason"]: each["count"] for each in await board.objects(board.pod)}
        assert {"Again": 3, "Then": 1} == counts

    async def test_a_flood_is_combined(self, board: _Board) -> None:
        """What differs in its words alone is ten objects, the last counted."""
        for number in range(60):
            board.events.emit(board.pod, actions.Event("Flood", f"{number}"))
        board.events.emit(board.pod, actions.Event("Then", "another", warning=True))
        await board.until(board.pod, "Then")

        objects = await board.objects(board.pod)
        flood = {each["message"]: each["count"] for each in objects if each["reason"] == "Flood"}
        assert flood == {**{str(each): 1 for each in range(9)}, _COMBINED.format(24): 16}


class _Users(test_reviewer.Users):
    """Service accounts of a namespace; grants go with the test."""

    def __init__(
        self, connection: client.Api, namespace: namespaces.Namespace, grants: contextlib.ExitStack
    ) -> None:
        self.reviewer = reviews.ApiReviewer(connection)
        self.group = f"system:serviceaccounts:{namespace.name}"
        self._namespace = namespace
        self._grants = grants

    async def create(self, name: str) -> tuple[str, str]:
        await self._kubectl("create", "serviceaccount", name)
        token = await self._kubectl("create", "token", name)
        return token.strip(), f"system:serviceaccount:{self._namespace.name}:{name}"

    async def allow(self, verb: str, subresource: str, *, user: str = "", group: str = "") -> None:
        name = f"{self._namespace.name}-{secrets.token_hex(4)}"
        resource = f"--resource=nodes/{subresource}"
        subject = f"--user={user}" if user else f"--group={group}"
        await self._kubectl("create", "clusterrole", name, f"--verb={verb}", resource)
        await self._kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", subject)
        kinds = "clusterrole,clusterrolebinding"
        self._grants.callback(self._namespace.kubectl, "delete", kinds, name)

    async def _kubectl(self, *words: str) -> str:
        return await asyncio.to_thread(self._namespace.kubectl, *words)


class TestApiReviewer(test_reviewer.ReviewerContract):
    """Reviewer over the API server."""

    @pytest.fixture
    async def users(
        self, namespace: namespaces.Namespace, tmp_path: Path
    ) -> AsyncIterator[test_reviewer.Users]:
        """Give those of a namespace of its own."""
        async with _connected(namespace.bed.plane, tmp_path) as connection:
            with contextlib.ExitStack() as grants:
                yield _Users(connection, namespace, grants)
