"""
From an image reference to a program that can start at once.

Part of `loops.reconcile`: pull by the container's policy, find the program,
have it compiled. What goes wrong is an event and an error with the reason
word for `state.waiting`; when to try again, the reconciler says.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from wasm_node.agent import errors, interfaces
from wasm_node.agent.model import actions, desired, durations, ids, image, observed

Progress: TypeAlias = Callable[[ids.PodRef, int, int | None], None]
"""Told of a pod's transfer: bytes so far and in all (None: not known)."""

_LONG_S = 0.5


class Fetcher:
    """Fetches images for containers."""

    def __init__(
        self,
        puller: interfaces.Puller,
        containers: interfaces.Containers,
        events: interfaces.Events,
        clock: interfaces.Clock,
        progress: Progress,
    ) -> None:
        self._puller = puller
        self._containers = containers
        self._events = events
        self._clock = clock
        self._progress = progress
        self._preparing: list[str] = []

    @property
    def preparing(self) -> Sequence[str]:
        """Ids of images that are in hand, and noted with no pod yet."""
        return tuple(self._preparing)

    async def fetch(self, pod: ids.PodRef, wanted: desired.DesiredContainer) -> observed.ImageHere:
        """
        Return the image with its program, compiled.

        Raises:
            NodeError: with the reason for `state.waiting`.
        """
        found = await self._image(pod, wanted)
        self._preparing.append(found.image_id)
        try:
            program = self._puller.program(found, wanted.command, wanted.args)
            serves = await self._compile(pod, wanted, program)
        finally:
            self._preparing.remove(found.image_id)
        # NB: whoever awaits this notes it before anything else can happen.
        return observed.ImageHere(found.image_id, program, found, serves)

    async def _compile(
        self, pod: ids.PodRef, wanted: desired.DesiredContainer, program: image.Program
    ) -> bool:
        """Compile, and say so where it takes long."""
        with errors.unwrapped():
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._tell_compiling(pod, wanted))
                serves = await self._containers.prepare(program)
                telling.cancel()
        return serves

    async def _tell_compiling(self, pod: ids.PodRef, wanted: desired.DesiredContainer) -> None:
        await self._clock.sleep(_LONG_S)
        said = f'Compiling image "{wanted.image}" for this machine, once for all its containers'
        self._emit(pod, wanted, "Compiling", said)

    async def _image(self, pod: ids.PodRef, wanted: desired.DesiredContainer) -> image.Image:
        """Have the image here; the words are those of EnsureImageExists."""
        try:
            if wanted.pull_policy is not desired.PullPolicy.ALWAYS:
                found = await self._puller.local(wanted.image)
                if found is not None:
                    said = f'Container image "{wanted.image}" already present on machine'
                    self._emit(pod, wanted, "Pulled", f"{said} and can be accessed by the pod")
                    return found
            if wanted.pull_policy is desired.PullPolicy.NEVER:
                said = f'Container image "{wanted.image}" is not present with pull policy of Never'
                self._emit(pod, wanted, "ErrImageNeverPull", said, warning=True)
                raise errors.BadInput(said, reason="ErrImageNeverPull")
            return await self._pulled(pod, wanted)
        except errors.BadInput as error:
            if error.reason == "InvalidImageName":
                said = f'Failed to apply default image tag "{wanted.image}": {error}'
                self._emit(pod, wanted, "InspectFailed", said, warning=True)
            raise

    async def _pulled(self, pod: ids.PodRef, wanted: desired.DesiredContainer) -> image.Image:
        self._emit(pod, wanted, "Pulling", f'Pulling image "{wanted.image}"')
        begun = self._clock.monotonic()
        try:
            found = await self._puller.pull(
                wanted.image, progress=lambda done, total: self._progress(pod, done, total)
            )
        except (errors.NotFound, errors.Retryable) as error:
            said = f'Failed to pull image "{wanted.image}": {error}'
            self._emit(pod, wanted, "Failed", said, warning=True)
            said = f'Back-off pulling image "{wanted.image}"'
            self._emit(pod, wanted, "BackOff", said)
            text = f"{said}: {error.reason}: {error}"
            raise errors.Retryable(text, reason="ImagePullBackOff") from error
        took = durations.shown(self._clock.monotonic() - begun)
        said = (
            f'Successfully pulled image "{wanted.image}" in {took} ({took} including waiting). '
            f"Image size: {found.size_bytes} bytes. Layout: {found.layout}"
        )
        self._emit(pod, wanted, "Pulled", said)
        return found

    def _emit(
        self,
        pod: ids.PodRef,
        wanted: desired.DesiredContainer,
        reason: str,
        text: str,
        *,
        warning: bool = False,
    ) -> None:
        self._events.emit(pod, actions.Event(reason, text, warning, wanted.name))
