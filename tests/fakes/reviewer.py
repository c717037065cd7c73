"""A Reviewer that knows a few users, and counts what it is asked."""

import asyncio

from wasm_node.agent import errors
from wasm_node.agent.model import access


class FakeReviewer:
    """
    Allows what is in `allowed`, knows the tokens in `tokens`.

    Attributes:
        allowed: (user or group, verb, subresource).
        tokens: bearer tokens and whose they are.
        asked: questions so far, in order.
        away: while set, the API server cannot be asked.
        answering: answers wait for it.
    """

    def __init__(self) -> None:
        self.allowed: set[tuple[str, str, str]] = set()
        self.tokens: dict[str, access.Identity] = {}
        self.asked: list[str | tuple[access.Identity, access.Access]] = []
        self.away = False
        self.answering = asyncio.Event()
        self.answering.set()

    async def authenticate(self, token: str) -> access.Identity | None:
        """Return whose bearer token it is; None: nobody's."""
        self.asked.append(token)
        await self._answer()
        return self.tokens.get(token)

    async def authorize(self, identity: access.Identity, wanted: access.Access) -> access.Decision:
        """Return whether this user may do that."""
        self.asked.append((identity, wanted))
        await self._answer()
        subjects = (identity.name, *identity.groups)
        return access.Decision(
            any((each, wanted.verb, wanted.subresource) in self.allowed for each in subjects)
        )

    async def _answer(self) -> None:
        await self.answering.wait()
        if self.away:
            raise errors.Retryable("the API server is away", reason="Unavailable")
