"""
What every NodeObject promises: one Node and its Lease, shared with others.

And what every OwnNode promises, as it is the same thing by another side.

`NodeObjectContract` runs on the fake here and on the API server in
e2e/test_contracts.py. A subclass says what others see and do.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import pytest

from tests.fakes import hosts
from tests.fakes.cluster import FakeNode
from wasm_node.agent import errors, interfaces
from wasm_node.agent.loops import claim
from wasm_node.agent.plan import node as planning

_NOW = 1_800_000_000.0
_THEIRS = {"type": "NetworkUnavailable", "status": "False", "reason": "Theirs"}


class Whole(claim.SharedNode, interfaces.OwnNode, Protocol):
    """Both sides of it."""


class Home(abc.ABC):
    """
    Where nodes are kept, and what others see and do there.

    Attributes:
        node: the thing tested, of a Node that is not there yet.
        name: of that Node.
    """

    node: Whole
    name: str

    @abc.abstractmethod
    async def read(self) -> dict[str, Any] | None:
        """Return the Node as others see it; None: there is none."""

    @abc.abstractmethod
    async def lease(self) -> dict[str, Any] | None:
        """Return the Lease as others see it; None: there is none."""

    @abc.abstractmethod
    async def change(self, change: Mapping[str, Any]) -> None:
        """Merge a change into the Node's metadata and spec, as others do."""

    @abc.abstractmethod
    async def set_condition(self, condition: Mapping[str, Any]) -> None:
        """Add a condition, as others do."""

    @abc.abstractmethod
    async def delete(self) -> None:
        """Delete Node and Lease, as others do."""

    def made(self, **identity: Any) -> dict[str, Any]:
        """Return a Node to create."""
        mine = dataclasses.replace(hosts.IDENTITY, name=self.name, **identity)
        return planning.new(mine, hosts.SMALL, planning.Health(""), _NOW)


class NodeObjectContract:
    """The suite; `home` is the subclass's fixture."""

    async def test_at_first_there_is_none(self, home: Home) -> None:
        """What is not there is None, and cannot be written to."""
        assert await home.node.get() is None
        with pytest.raises(errors.NotFound):
            await home.node.patch({"metadata": {"labels": {"a": "b"}}})
        with pytest.raises(errors.NotFound):
            await home.node.patch_status(home.made()["status"])

    async def test_a_node_is_created_as_a_whole(self, home: Home) -> None:
        """Taints, labels and status are there from the first moment."""
        made = home.made()
        created = await home.node.create(made)
        found = await home.node.get()
        seen = await home.read()

        assert found is not None
        assert seen is not None
        assert created["metadata"]["uid"] == found["metadata"]["uid"] == seen["metadata"]["uid"]
        assert made["metadata"]["labels"].items() <= seen["metadata"]["labels"].items()
        taints = {(each["key"], each["effect"]) for each in seen["spec"]["taints"]}
        assert taints >= {(each["key"], each["effect"]) for each in made["spec"]["taints"]}
        assert seen["spec"]["providerID"] == made["spec"]["providerID"]
        assert seen["status"]["capacity"]["pods"] == made["status"]["capacity"]["pods"]

    async def test_a_name_is_given_once(self, home: Home) -> None:
        """A Node that is there is not overwritten."""
        created = await home.node.create(home.made())
        with pytest.raises(errors.NodeError):
            await home.node.create(home.made(labels={"a": "other"}))

        seen = await home.read()
        assert seen is not None
        assert created["metadata"]["uid"] == seen["metadata"]["uid"]
        assert "b" == seen["metadata"]["labels"]["a"]

    async def test_a_patch_leaves_what_others_set(self, home: Home) -> None:
        """Our labels change, theirs stay, and so do cordons and taints."""
        await home.node.create(home.made())
        theirs = {"labels": {"example.com/rack": "r1"}, "annotations": {"example.com/n": "1"}}
        await home.change({"metadata": theirs, "spec": {"unschedulable": True}})
        await home.node.patch({"metadata": {"labels": {"a": "c"}}})
        await home.node.patch({"metadata": {"annotations": {"example.com/m": "2"}}})

        seen = await home.read()
        assert seen is not None
        assert {"a": "c", "example.com/rack": "r1"}.items() <= seen["metadata"]["labels"].items()
        notes = seen["metadata"]["annotations"]
        assert {"example.com/n": "1", "example.com/m": "2"}.items() <= notes.items()
        assert seen["spec"]["unschedulable"] is True
        assert {"kubernetes.io/arch"} <= {each["key"] for each in seen["spec"]["taints"]}

    async def test_a_patch_of_an_older_version_is_refused(self, home: Home) -> None:
        """Who names the version that it has seen changes no other."""
        seen = await home.node.create(home.made())
        await home.node.patch({"metadata": {"annotations": {"example.com/m": "1"}}})
        late = {"resourceVersion": seen["metadata"]["resourceVersion"]}
        with pytest.raises(errors.NodeError):
            await home.node.patch({"metadata": {**late, "annotations": {"example.com/m": "2"}}})

        now = await home.read()
        assert now is not None
        assert "1" == now["metadata"]["annotations"]["example.com/m"]

    async def test_what_was_read_last_is_at_hand(self, home: Home) -> None:
        """Others' changes are seen by who asks anew, and then by all."""
        await home.node.create(home.made())
        first = await home.node.read(fresh=False)
        await home.change({"metadata": {"labels": {"example.com/rack": "r1"}}})
        old, new = await home.node.read(fresh=False), await home.node.read(fresh=True)
        await home.change({"metadata": {"labels": {"example.com/rack": "r2"}}})
        known = await home.node.read(fresh=False)
        await home.node.get()
        got = await home.node.read(fresh=False)

        racks = [x.metadata.labels.get("example.com/rack") for x in (first, old, new, known, got)]
        assert [None, None, "r1", "r1", "r2"] == racks
        assert home.name == first.metadata.name
        taints = {(each.key, each.value, each.effect) for each in first.spec.taints}
        assert ("kubernetes.io/arch", "wasm32-wasi", "NoExecute") in taints
        assert first.status.allocatable["ephemeral-storage"]

    async def test_a_node_that_is_gone_is_not_at_hand(self, home: Home) -> None:
        """Nobody is judged by a Node that is known not to be there."""
        with pytest.raises(errors.NotFound):
            await home.node.read(fresh=False)
        await home.node.create(home.made())
        await home.node.read(fresh=False)
        await home.delete()
        for fresh in (True, False):
            with pytest.raises(errors.NotFound):
                await home.node.read(fresh=fresh)

    async def test_conditions_merge_by_type(self, home: Home) -> None:
        """Ours are replaced by what we say last; theirs stay."""
        made = home.made()
        await home.node.create(made)
        await home.set_condition(_THEIRS)
        bad = planning.status(
            hosts.IDENTITY, hosts.SMALL, planning.Health("the runtime is away"), {}, _NOW + 60
        )
        await home.node.patch_status(bad)

        seen = await home.read()
        assert seen is not None
        conditions = {each["type"]: each for each in seen["status"]["conditions"]}
        assert "the runtime is away" == conditions["Ready"]["message"]
        assert "Theirs" == conditions["NetworkUnavailable"]["reason"]
        assert len(conditions) == len(seen["status"]["conditions"])

    async def test_addresses_are_exactly_those_last_said(self, home: Home) -> None:
        """An address of another type does not linger: others would use it."""
        await home.node.create(home.made(address_type="InternalIP"))
        said = home.made(address_type="Hostname", address="10.1.1.2")["status"]
        await home.node.patch_status(said)

        seen = await home.read()
        assert seen is not None
        assert [{"type": "Hostname", "address": "10.1.1.2"}] == seen["status"]["addresses"]

    async def test_a_status_without_capacity_leaves_it(self, home: Home) -> None:
        """What is not said stays as it was."""
        made = home.made()
        await home.node.create(made)
        silent = {name: made["status"][name] for name in ("conditions", "addresses")}
        await home.node.patch_status(silent)

        seen = await home.read()
        assert seen is not None
        assert made["status"]["capacity"]["pods"] == seen["status"]["capacity"]["pods"]

    async def test_a_lease_is_made_and_renewed(self, home: Home) -> None:
        """The Lease is the node's, belongs to its Node, and moves on."""
        uid = (await home.node.create(home.made()))["metadata"]["uid"]
        assert "" == await home.node.renewed()
        await home.node.renew_lease(uid, 40, _NOW)
        first, renewed = await home.lease(), await home.node.renewed()
        await home.node.renew_lease(uid, 40, _NOW + 10)
        second = await home.lease()

        assert first is not None
        assert second is not None
        (owner,) = second["metadata"]["ownerReferences"]
        assert ("Node", home.name, uid) == (owner["kind"], owner["name"], owner["uid"])
        assert (home.name, 40) == (
            second["spec"]["holderIdentity"],
            second["spec"]["leaseDurationSeconds"],
        )
        assert "2027-01-15T08:00:00.000000Z" == first["spec"]["renewTime"] == renewed
        assert "2027-01-15T08:00:10.000000Z" == second["spec"]["renewTime"]
        assert first["spec"]["acquireTime"] == second["spec"]["acquireTime"]

    async def test_what_others_delete_can_be_made_again(self, home: Home) -> None:
        """A new Node is another one, and its Lease belongs to that."""
        old = (await home.node.create(home.made()))["metadata"]["uid"]
        await home.node.renew_lease(old, 40, _NOW)
        await home.delete()
        assert await home.node.get() is None
        new = (await home.node.create(home.made()))["metadata"]["uid"]
        await home.node.renew_lease(new, 40, _NOW + 10)

        lease = await home.lease()
        assert old != new
        assert lease is not None
        assert new == lease["metadata"]["ownerReferences"][0]["uid"]


class _Fake(Home):
    name = "wasm-a"

    def __init__(self) -> None:
        self._fake = FakeNode()
        self.node = self._fake

    async def read(self) -> dict[str, Any] | None:
        return self._fake.node

    async def lease(self) -> dict[str, Any] | None:
        return self._fake.lease

    async def change(self, change: Mapping[str, Any]) -> None:
        assert self._fake.node is not None
        for part, fields in change.items():
            for name, value in fields.items():
                held = self._fake.node[part].get(name)
                merged = held | value if isinstance(held, dict) else value
                self._fake.node[part][name] = merged

    async def set_condition(self, condition: Mapping[str, Any]) -> None:
        assert self._fake.node is not None
        self._fake.node["status"]["conditions"].append(condition)

    async def delete(self) -> None:
        self._fake.node = self._fake.lease = None


class TestFakeNode(NodeObjectContract):
    """The one that stands for it in tests."""

    @pytest.fixture
    def home(self) -> Home:
        """Give one without nodes."""
        return _Fake()
