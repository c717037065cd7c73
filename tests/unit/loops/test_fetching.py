"""
What is told of images, in the kubelet's own words.

They are those of kubernetes v1.37 pkg/kubelet/images/image_manager.go; what is
ours beside them is in docs/statuses.md.
"""

from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeEvents
from tests.fakes.containers import FakeContainers
from tests.fakes.puller import FakePuller
from wasm_node.agent import errors
from wasm_node.agent.loops import fetching
from wasm_node.agent.model import actions, ids, image, parsing
from wasm_node.agent.plan import restarts

HELLO = image.Image(
    "hello:1", "r/hello@sha256:1", "A", 9, Path("/hello.wasm"), ids.Digest("sha256:1"), None
)
REF = ids.PodRef("default", "p", ids.PodUid("u"))

Told = list[tuple[str, str, bool]]


class _SetClock(FakeClock):
    """A clock that somebody sets back by an hour each time that it is read."""

    _hours = 0

    def now(self) -> float:
        """Return what it was set to."""
        self._hours += 1
        return super().now() - 3600.0 * self._hours


class _SlowPuller(FakePuller):
    """A registry that takes one and a half seconds."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__({"hello:1": HELLO})
        self._clock = clock

    async def pull(self, *words: object, **fields: object) -> image.Image:
        """Let time pass first."""
        self._clock.advance(1.5)
        return await super().pull(*words, **fields)  # type: ignore[arg-type]  # passed on


class Bed:
    """A fetcher, and what it tells."""

    def __init__(self) -> None:
        clock = _SetClock()
        self.events = FakeEvents()
        puller, containers = _SlowPuller(clock), FakeContainers()
        self._fetcher = fetching.Fetcher(puller, containers, self.events, clock, lambda *_: None)

    async def fetch(self, name: str, policy: str = "IfNotPresent") -> Told:
        """Fetch as the reconciler does, and return what that told."""
        container = {"name": "main", "image": name, "imagePullPolicy": policy}
        meta = {"name": "p", "uid": "u"}
        pod = parsing.pod({"metadata": meta, "spec": {"containers": [container]}})
        before = len(self.events.emitted)
        try:
            await self._fetcher.fetch(REF, pod.containers[0])
        except errors.NodeError as error:
            self.events.emit(REF, restarts.not_begun(pod.containers[0], error.reason, str(error)))
        told = [each for _, each in self.events.emitted[before:]]
        assert {each.container for each in told} == {"main"}
        return [(each.reason, each.message, each.warning) for each in told]


@pytest.fixture
def bed() -> Bed:
    """Give a bed without images."""
    return Bed()


async def test_an_image_that_is_pulled(bed: Bed) -> None:
    """How long it took, as Go writes times; then that it is here."""
    took = "in 1.5s (1.5s including waiting). Image size: 9 bytes."
    here = 'Container image "hello:1" already present on machine and can be accessed by the pod'

    assert await bed.fetch("hello:1") == [
        ("Pulling", 'Pulling image "hello:1"', False),
        ("Pulled", f'Successfully pulled image "hello:1" {took} Layout: A', False),
    ]
    assert await bed.fetch("hello:1") == [("Pulled", here, False)]


async def test_an_image_that_cannot_be_pulled(bed: Bed) -> None:
    """Why, once; beside that only that it is tried again later."""
    assert await bed.fetch("none:1") == [
        ("Pulling", 'Pulling image "none:1"', False),
        ("Failed", 'Failed to pull image "none:1": cannot pull none:1: there is none', True),
        ("BackOff", 'Back-off pulling image "none:1"', False),
        ("Failed", "Error: ImagePullBackOff", True),
    ]


async def test_an_image_that_must_not_be_pulled(bed: Bed) -> None:
    """ErrImageNeverPull is an event's reason, too."""
    said = 'Container image "hello:1" is not present with pull policy of Never'

    assert await bed.fetch("hello:1", "Never") == [
        ("ErrImageNeverPull", said, True),
        ("Failed", "Error: ErrImageNeverPull", True),
    ]


async def test_a_name_that_is_none(bed: Bed) -> None:
    """It is looked at before anything else, whatever the policy."""
    (first, *others) = await bed.fetch("a:b:c")

    assert first[0] == "InspectFailed"
    assert first[1].startswith('Failed to apply default image tag "a:b:c": ')
    assert others == [("Failed", "Error: InvalidImageName", True)]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("CreateContainerConfigError", 'Error: configmap "c" not found'),
        ("CreateContainerError", 'Error: configmap "c" not found'),
        ("RunContainerError", 'Error: configmap "c" not found'),
        ("MissingImport", 'MissingImport: configmap "c" not found'),
    ],
)
def test_what_fails_after_the_image(reason: str, said: str) -> None:
    """Why (startContainer); where no kubelet has the reason, that as well."""
    container = {"name": "main", "image": "x"}
    meta = {"name": "p", "uid": "u"}
    pod = parsing.pod({"metadata": meta, "spec": {"containers": [container]}})

    made = restarts.not_begun(pod.containers[0], reason, 'configmap "c" not found')
    assert made == actions.Event("Failed", said, warning=True, container="main")
