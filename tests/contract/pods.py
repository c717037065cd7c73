"""
What every home of pods promises: PodSource and StatusSink, in one suite.

`PodHomeContract` runs on the real API server (e2e/test_contracts.py) and on
what `wasm-node run` has in its place (test_local_pods.py). A subclass says how
a user would put a pod there, and how one would look at it.
"""

import abc
import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import desired, ids

News = Sequence[desired.DesiredPod] | desired.DesiredPod
_WITHIN_S = 20.0


class Home(abc.ABC):
    """One home of pods, and its user's side."""

    source: interfaces.PodSource
    sink: interfaces.StatusSink
    namespace: str

    @abc.abstractmethod
    async def create(self, name: str) -> None:
        """Put a pod there, as a user does."""

    @abc.abstractmethod
    async def delete(self, name: str, grace_s: int) -> None:
        """Ask for its deletion, as a user does."""

    @abc.abstractmethod
    async def status(self, name: str) -> Mapping[str, Any] | None:
        """Return the status that a user sees; None: there is no such pod."""

    async def phase(self, name: str) -> str | None:
        """Return the phase that a user sees; None: there is no such pod."""
        status = await self.status(name)
        return None if status is None else str(status.get("phase", ""))

    @abc.abstractmethod
    async def configure(self, name: str, key: str, value: str) -> None:
        """Put a ConfigMap there."""


class Reader:
    """Takes news one by one, with a deadline."""

    def __init__(self, source: interfaces.PodSource) -> None:
        self._news = source.changes()

    async def next(self) -> News:
        """Return the next news."""
        async with asyncio.timeout(_WITHIN_S):
            return await anext(self._news)

    async def until(self, wanted: Callable[[desired.DesiredPod], bool]) -> desired.DesiredPod:
        """Return the first pod in the news that is as wanted."""
        while True:
            news = await self.next()
            for each in [news] if isinstance(news, desired.DesiredPod) else news:
                if wanted(each):
                    return each


class PodHomeContract:
    """The suite; `home` is the subclass's fixture."""

    @pytest.fixture
    async def reader(self, home: Home) -> AsyncIterator[Reader]:
        """Give a reader that has seen the first list."""
        made = Reader(home.source)
        assert not isinstance(await made.next(), desired.DesiredPod)
        yield made
        await made._news.aclose()  # type: ignore[attr-defined]  # an async generator in both

    async def test_a_full_list_comes_first(self, home: Home) -> None:
        """The first news is a list, so that absence means something."""
        reader = Reader(home.source)
        first = await reader.next()
        await reader._news.aclose()  # type: ignore[attr-defined]  # an async generator in both

        assert not isinstance(first, desired.DesiredPod)

    async def test_a_new_pod_is_news(self, home: Home, reader: Reader) -> None:
        """A pod that a user creates arrives with its names and its uid."""
        await home.create("one")

        pod = await reader.until(lambda each: each.ref.name == "one")
        assert (home.namespace, False, False) == (pod.ref.namespace, pod.deleting, pod.gone)
        assert pod.ref.uid

    async def test_a_status_is_seen_by_users(self, home: Home, reader: Reader) -> None:
        """What is written is what a user reads; writing it again is fine."""
        await home.create("two")
        pod = await reader.until(lambda each: each.ref.name == "two")
        for _ in range(2):
            await home.sink.write(pod.ref, {"phase": "Running"})

        assert await home.phase("two") == "Running"

    async def test_what_a_condition_no_longer_has_is_gone(self, home: Home, reader: Reader) -> None:
        """A reason does not outlive the state that it was for."""
        await home.create("six")
        pod = await reader.until(lambda each: each.ref.name == "six")
        bad = {"type": "Ready", "status": "False", "reason": "NotYet", "message": "wait"}
        for condition in (bad, {"type": "Ready", "status": "True"}):
            await home.sink.write(pod.ref, {"phase": "Running", "conditions": [condition]})

        status = await home.status("six") or {}
        ready = [each for each in status["conditions"] if each["type"] == "Ready"]
        kept = {key: value for key, value in ready[0].items() if value is not None}
        assert {"type": "Ready", "status": "True"} == kept

    async def test_an_address_takes_the_place_of_the_last(self, home: Home, reader: Reader) -> None:
        """A pod whose node comes back with another address has only that."""
        await home.create("seven")
        pod = await reader.until(lambda each: each.ref.name == "seven")
        for last in "1", "2", "2":
            host, own = f"192.0.2.{last}", f"198.51.100.{last}"
            status = {"hostIP": host, "hostIPs": [{"ip": host}], "podIP": own}
            await home.sink.write(pod.ref, {**status, "podIPs": [{"ip": own}]})

        seen = await home.status("seven") or {}
        assert ([{"ip": "192.0.2.2"}], [{"ip": "198.51.100.2"}]) == (
            seen["hostIPs"],
            seen["podIPs"],
        )

    async def test_another_pod_of_the_name_is_not_written_to(
        self, home: Home, reader: Reader
    ) -> None:
        """A status for an old uid never lands on the new pod of that name."""
        await home.create("three")
        pod = await reader.until(lambda each: each.ref.name == "three")
        old = ids.PodRef(pod.ref.namespace, pod.ref.name, ids.pod_uid("another-uid"))

        with pytest.raises(errors.NotFound):
            await home.sink.write(old, {"phase": "Failed"})
        await home.sink.remove(old)
        assert await home.phase("three") != "Failed"
        assert await home.phase("three") is not None

    async def test_a_deletion_is_asked_for_then_done(self, home: Home, reader: Reader) -> None:
        """A deletion comes with its grace; removal ends it, also twice."""
        await home.create("four")
        await reader.until(lambda each: each.ref.name == "four")
        await home.delete("four", grace_s=7)
        asked = await reader.until(lambda each: each.ref.name == "four" and each.deleting)
        for _ in range(2):
            await home.sink.remove(asked.ref)
        gone = await reader.until(lambda each: each.ref == asked.ref and each.gone)

        assert (7.0, 1.0) == (asked.grace_s, gone.grace_s)
        assert await home.phase("four") is None

    async def test_data_of_a_config_map(self, home: Home, reader: Reader) -> None:
        """Keys arrive as bytes; what is not there is None, not an error."""
        await home.create("five")
        await reader.until(lambda each: each.ref.name == "five")
        await home.configure("settings", "colour", "blue")

        assert {"colour": b"blue"} == await home.source.data(
            home.namespace, "ConfigMap", "settings"
        )
        assert await home.source.data(home.namespace, "ConfigMap", "nothing") is None
