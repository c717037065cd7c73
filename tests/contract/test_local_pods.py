"""The home of pods that `wasm-node run` has, under its contract."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract import pods
from wasm_node.agent.files import localpods, manifests
from wasm_node.agent.model import ids, parsing


class _Local(pods.Home):
    namespace = "default"

    def __init__(self) -> None:
        self._pods = localpods.LocalPods()
        self.source = self._pods
        self.sink = self._pods

    async def create(self, name: str) -> None:
        made = parsing.pod(
            {
                "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
                "spec": {"containers": [{"name": "main", "image": "x"}]},
            }
        )
        self._pods.apply(manifests.Manifests((made,), {}))

    async def delete(self, name: str, grace_s: int) -> None:
        self._pods.delete(self._uid(name), grace_s=grace_s)

    def _uid(self, name: str) -> ids.PodUid:
        return ids.pod_uid(f"uid-{name}")

    async def status(self, name: str) -> Mapping[str, Any] | None:
        return self._pods.status(self._uid(name))

    async def configure(self, name: str, key: str, value: str) -> None:
        found = manifests.Manifests((), {("default", "ConfigMap", name): {key: value.encode()}})
        self._pods.apply(found)


class TestLocalPods(pods.PodHomeContract):
    """`wasm-node run`."""

    @pytest.fixture
    def home(self) -> pods.Home:
        """Give an empty home."""
        return _Local()
