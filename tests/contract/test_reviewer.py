"""
What every Reviewer promises: the cluster's own word on who asks, and may they.

`ReviewerContract` runs on the fake here and on the API server in
e2e/test_contracts.py. A subclass says how users and their rights are made.
"""

import abc
import asyncio

import pytest

from tests.fakes.reviewer import FakeReviewer
from wasm_node.agent.model import access
from wasm_node.agent.server import seams

_NODE = "wasm-a"
_WITHIN_S = 20.0


class Users(abc.ABC):
    """
    Who there is, and their administrator's side.

    Attributes:
        reviewer: the thing tested.
        group: one that every user made here is in, and nobody else.
    """

    reviewer: seams.Reviewer
    group: str

    @abc.abstractmethod
    async def create(self, name: str) -> tuple[str, str]:
        """Make a user; return a bearer token and the whole user name."""

    @abc.abstractmethod
    async def allow(self, verb: str, subresource: str, *, user: str = "", group: str = "") -> None:
        """Grant a verb on a subresource of all nodes to a user or a group."""

    async def known(self, name: str) -> access.Identity:
        """Make a user and return it as the reviewer knows it."""
        token, _ = await self.create(name)
        found = await self.reviewer.authenticate(token)
        assert found is not None
        return found

    async def may(self, who: access.Identity, verb: str, subresource: str) -> bool:
        """Return what the reviewer decides."""
        decision = await self.reviewer.authorize(who, access.Access(verb, _NODE, subresource))
        return decision.allowed

    async def until_may(self, who: access.Identity, verb: str, subresource: str) -> None:
        """Return once it is allowed: a grant takes a moment to be known."""
        async with asyncio.timeout(_WITHIN_S):
            while not await self.may(who, verb, subresource):
                await asyncio.sleep(0.02)


class ReviewerContract:
    """The suite; `users` is the subclass's fixture."""

    async def test_a_token_says_whose_it_is(self, users: Users) -> None:
        """Name and groups are the user's, `system:authenticated` among them."""
        token, name = await users.create("reader")
        found = await users.reviewer.authenticate(token)

        assert found is not None
        assert name == found.name
        assert {users.group, "system:authenticated"} <= set(found.groups)

    @pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 10_000])
    async def test_any_other_token_is_nobodys(self, users: Users, token: str) -> None:
        """What nobody has issued is None, not an error."""
        assert await users.reviewer.authenticate(token) is None

    async def test_nothing_is_allowed_unless_granted(self, users: Users) -> None:
        """A user without rights may not even read logs."""
        stranger = await users.known("stranger")

        assert not await users.may(stranger, "get", "log")
        assert not await users.may(stranger, "create", "proxy")

    async def test_a_grant_is_for_one_user_verb_and_subresource(self, users: Users) -> None:
        """What is granted is allowed, and nothing near it."""
        reader, other = await users.known("reader"), await users.known("other")
        await users.allow("get", "log", user=reader.name)
        await users.until_may(reader, "get", "log")

        assert not await users.may(reader, "create", "log")
        assert not await users.may(reader, "get", "metrics")
        assert not await users.may(other, "get", "log")

    async def test_a_grant_to_a_group_is_for_its_members(self, users: Users) -> None:
        """Groups count, as those of a certificate do."""
        member = await users.known("member")
        outsider = access.Identity("system:outsider", ("system:authenticated",))
        await users.allow("get", "metrics", group=users.group)
        await users.until_may(member, "get", "metrics")

        assert not await users.may(outsider, "get", "metrics")


class _Fake(Users):
    group = "readers"

    def __init__(self) -> None:
        self._fake = FakeReviewer()
        self.reviewer = self._fake

    async def create(self, name: str) -> tuple[str, str]:
        groups = (self.group, "system:authenticated")
        self._fake.tokens[f"token-of-{name}"] = access.Identity(name, groups)
        return f"token-of-{name}", name

    async def allow(self, verb: str, subresource: str, *, user: str = "", group: str = "") -> None:
        self._fake.allowed.add((user or group, verb, subresource))


class TestFakeReviewer(ReviewerContract):
    """The one that stands for it in tests."""

    @pytest.fixture
    def users(self) -> Users:
        """Give one that knows nobody."""
        return _Fake()
