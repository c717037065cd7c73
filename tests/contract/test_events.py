"""
What every Events promises, towards a user of `kubectl describe`.

`EventsContract` runs on the fake here and on the API server in
e2e/test_contracts.py. A subclass says how a user would look.
"""

import abc
import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from tests.fakes.cluster import FakeEvents
from wasm_node.agent import interfaces
from wasm_node.agent.model import actions, ids

_WITHIN_S = 20.0
_KEPT = 500  # of a message; more is not promised


class Board(abc.ABC):
    """
    Where events go, and its user's side.

    Attributes:
        events: the thing tested.
        pod: one that exists.
    """

    events: interfaces.Events
    pod: ids.PodRef

    @abc.abstractmethod
    async def read(self, pod: ids.PodRef) -> Sequence[actions.Event]:
        """Return what a user reads of exactly this pod, repeats left out."""

    @abc.abstractmethod
    async def noted(self) -> Sequence[actions.Event]:
        """Return what a user reads of the node itself, repeats left out."""

    async def until(self, pod: ids.PodRef, reason: str) -> actions.Event:
        """Return the first event of that reason, once it can be read."""
        async with asyncio.timeout(_WITHIN_S):
            while True:
                for each in await self.read(pod):
                    if each.reason == reason:
                        return each
                await asyncio.sleep(0.02)


class EventsContract:
    """The suite; `board` is the subclass's fixture."""

    @pytest.mark.parametrize(
        "event",
        [
            actions.Event("Pulled", "Image is here", container="main"),
            actions.Event("BackOff", "Back-off restarting", warning=True, container="main"),
            actions.Event("UnsupportedPodSpec", "hostNetwork: not here", warning=True),
        ],
        ids=lambda each: each.reason,
    )
    async def test_an_event_can_be_read(self, board: Board, event: actions.Event) -> None:
        """Reason, words, kind and container arrive as they were said."""
        board.events.emit(board.pod, event)

        assert await board.until(board.pod, event.reason) == event

    async def test_one_said_often_can_be_read(self, board: Board) -> None:
        """Repeats are never an error, and do not hide what comes after."""
        for _ in range(5):
            board.events.emit(board.pod, actions.Event("Again", "and again"))
        board.events.emit(board.pod, actions.Event("Then", "another"))
        await board.until(board.pod, "Then")

        reasons = [each.reason for each in await board.read(board.pod)]
        assert ["Again", "Then"] == sorted(reasons)

    async def test_it_is_about_one_pod(self, board: Board) -> None:
        """An event of a pod's namesake is not that pod's."""
        namesake = dataclasses.replace(board.pod, uid=ids.pod_uid("another-uid"))
        board.events.emit(namesake, actions.Event("Theirs", "not ours"))
        board.events.emit(board.pod, actions.Event("Ours", "not theirs"))
        await board.until(board.pod, "Ours")

        assert "not ours" == (await board.until(namesake, "Theirs")).message
        assert ["Ours"] == [each.reason for each in await board.read(board.pod)]

    async def test_the_node_has_events_of_its_own(self, board: Board) -> None:
        """They are nobody else's, and arrive as they were said."""
        said = actions.Event("EvictionThresholdMet", "Attempting to reclaim x", warning=True)
        board.events.note(said)
        board.events.note(said)
        board.events.emit(board.pod, actions.Event("Then", "another"))
        await board.until(board.pod, "Then")

        assert [said] == list(await board.noted())
        assert ["Then"] == [each.reason for each in await board.read(board.pod)]

    async def test_a_flood_about_one_pod_hides_no_other(self, board: Board) -> None:
        """However much is said of it, another pod's event arrives soon."""
        other = dataclasses.replace(board.pod, uid=ids.pod_uid("another-uid"))
        for number in range(1000):
            board.events.emit(board.pod, actions.Event("Flood", f"{number}", warning=True))
        board.events.emit(other, actions.Event("Quiet", "heard"))

        assert "heard" == (await board.until(other, "Quiet")).message
        assert "0" in {each.message for each in await board.read(board.pod)}

    async def test_one_that_is_not_busy_has_told_all(self, board: Board) -> None:
        """Who waits for that may go, and nothing is lost."""
        for number in range(3):
            board.events.emit(board.pod, actions.Event(f"Last{number}", "words"))
        async with asyncio.timeout(_WITHIN_S):
            while board.events.busy:
                await asyncio.sleep(0.01)

        reasons = [each.reason for each in await board.read(board.pod)]
        assert ["Last0", "Last1", "Last2"] == sorted(reasons)

    async def test_what_cannot_be_told_holds_up_nothing(self, board: Board) -> None:
        """Events that lead nowhere are dropped; the next ones arrive."""
        nowhere = ids.PodRef("no-such-namespace", "p", ids.pod_uid("u"))
        board.events.emit(nowhere, actions.Event("Lost", "nobody reads it"))
        board.events.emit(board.pod, actions.Event("Long", "x" * 100_000))
        board.events.emit(board.pod, actions.Event("Short", "y"))

        assert "y" == (await board.until(board.pod, "Short")).message
        assert (await board.until(board.pod, "Long")).message.startswith("x" * _KEPT)


class _Fake(Board):
    def __init__(self) -> None:
        self._fake = FakeEvents()
        self.events = self._fake
        self.pod = ids.PodRef("default", "web", ids.pod_uid("u-1"))

    async def read(self, pod: ids.PodRef) -> Sequence[actions.Event]:
        return list(dict.fromkeys(event for of, event in self._fake.emitted if of == pod))

    async def noted(self) -> Sequence[actions.Event]:
        return list(dict.fromkeys(self._fake.noted))


class TestFakeEvents(EventsContract):
    """The list that stands for it in tests."""

    @pytest.fixture
    def board(self) -> Board:
        """Give an empty one."""
        return _Fake()
