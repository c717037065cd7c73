"""The agent's interfaces to the API server, under their contract."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from e2e import namespaces
from e2e.cluster import api
from tests.contract import pods
from wasm_node.agent.kube import client, podsink, podsource

_NODE = "contract-node"


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

    async def phase(self, name: str) -> str | None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        try:
            found = await asyncio.to_thread(self._user.bed.plane.admin.get, path)
        except api.Refused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None
        return str(found["status"]["phase"])

    async def conditions(self, name: str) -> Sequence[Mapping[str, Any]]:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        pod = await asyncio.to_thread(self._user.bed.plane.admin.get, path)
        found: Sequence[Mapping[str, Any]] = pod["status"]["conditions"]
        return found

    async def configure(self, name: str, key: str, value: str) -> None:
        await self._kubectl("create", "configmap", name, f"--from-literal={key}={value}")

    async def _kubectl(self, *words: str, stdin: str = "") -> None:
        await asyncio.to_thread(self._user.kubectl, *words, stdin=stdin)


class TestApiServer(pods.PodHomeContract):
    """The API server, as `system:node:NAME` sees it."""

    @pytest.fixture
    async def home(
        self, namespace: namespaces.Namespace, tmp_path: Path
    ) -> AsyncIterator[pods.Home]:
        """Give a home in a namespace of its own."""
        credentials = namespace.bed.plane.node_credentials(_NODE, ["127.0.0.1"])
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": _NODE},
            "spec": {"unschedulable": True},
        }
        await asyncio.to_thread(namespace.kubectl, "apply", "-f", "-", stdin=json.dumps(node))
        async with client.Api.connect(
            credentials.kubeconfig, private=tmp_path / "private"
        ) as connection:
            yield _Cluster(connection, namespace)
        await asyncio.to_thread(namespace.kubectl, "delete", "node", _NODE)
