"""
From a container and its program to a running attempt.

Part of `loops.reconcile`: resolve the environment, expand command and args,
say where the log goes, ask the runtime.
"""

import asyncio
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from wasm_node.agent import errors, interfaces, statedir
from wasm_node.agent.model import (
    desired,
    environment,
    expansion,
    ids,
    image,
    observed,
    thresholds,
)
from wasm_node.agent.plan import grants, lastwords, node, order, pods, serving
from wasm_node.protocol import layout, records

_ASK_S = 10.0


class Starter:
    """Starts attempts; `place` tells where the node is, for downward fields."""

    def __init__(
        self,
        source: interfaces.PodSource,
        puller: interfaces.Puller,
        containers: interfaces.Containers,
        logs: interfaces.LogStore,
        directory: statedir.StateDir,
        place: Callable[[], environment.Place],
        eviction: thresholds.Rules = thresholds.OFF,
    ) -> None:
        self._source = source
        self._puller = puller
        self._containers = containers
        self._logs = logs
        self._directory = directory
        self._place = place
        self._eviction = eviction

    @property
    def life(self) -> str:
        """Of which runtime all is known: what is planned now is for it."""
        return self._containers.life()

    async def start(
        self,
        pod: desired.DesiredPod,
        wanted: desired.DesiredContainer,
        here: observed.ImageHere,
        attempt: int,
        life: str,
    ) -> observed.Running:
        """
        Run one attempt that was planned for the runtime of this `life`.

        Raises:
            Outdated: there is another runtime by now.
            NodeError: with the reason for `state.waiting`.
        """
        env = await self._environment(pod, wanted, here)
        program, serves = await self._program(wanted, here, dict(env))
        http = serving.http(pod, wanted, serves=serves)
        refused = list(serving.refusals(wanted, self._place(), serves=http is not None))
        if refused:
            text = "; ".join(str(each) for each in refused)
            raise errors.BadInput(text, reason="UnsupportedPodSpec")
        log = await asyncio.to_thread(self._log, pod.ref, wanted.name, attempt)
        tree = here.found.tree
        root = () if tree is None else (records.Mount(str(tree), "/", read_only=True),)
        volumes = (self._mount(pod, each) for each in wanted.mounts)
        own = records.AttemptId(pod.ref.uid, wanted.name, attempt)
        words = None if http else await asyncio.to_thread(self._last_words, wanted, own, tree)
        server_s = max(pod.grace_s, order.LEAST_GRACE_S)
        spec = records.ContainerSpec(
            id=own,
            pod_namespace=pod.ref.namespace,
            pod_name=pod.ref.name,
            module_path=str(program.path),
            module_digest=program.digest,
            argv=program.argv,
            env=env,
            mounts=(*root, *volumes, *((words,) if words else ())),
            log_path=str(log),
            memory_limit_bytes=wanted.memory_limit_bytes,
            cpu_limit_millis=wanted.cpu_limit_millis,
            stop_grace_s=server_s if http else pods.stop_grace(pod, wanted),
            http=http,
            grants=grants.grants(pod, wanted, serves=http is not None),
            message_file=posixpath.basename(lastwords.path(wanted)) if words else "",
            message_from_log=wanted.message_from_log,
            priority=pod.priority,
            pre_stop_s=pod.terminating().grace_s if wanted.lifecycle.pre_stop else 0.0,
            ends_after=order.ends_after(pod, wanted.name),
        )
        return await self._containers.start(spec, life=life)

    def _log(self, pod: ids.PodRef, container: str, attempt: int) -> Path:
        """As MaxPerPodContainer: of what has ended, one log is kept."""
        self._logs.prune(pod, container, attempt - 1)
        return self._logs.path(pod, container, attempt)

    def _mount(self, pod: desired.DesiredPod, wanted: desired.VolumeMount) -> records.Mount:
        path = layout.volume(self._directory.state, pod.ref.uid, wanted.volume)
        return records.Mount(str(path), wanted.path, wanted.read_only)

    def _last_words(
        self, wanted: desired.DesiredContainer, own: records.AttemptId, tree: Path | None
    ) -> records.Mount | None:
        file = lastwords.path(wanted)
        if not file:
            return None
        directory = posixpath.dirname(file)
        in_image = tree is not None and _holds(tree / directory.removeprefix("/"))
        hidden = lastwords.hidden(wanted, in_image=in_image)
        if hidden and file == lastwords.DEFAULT:
            return None
        if hidden:
            text = f"{wanted.name}.terminationMessagePath: {file} cannot be written to: {hidden}"
            hint = f"give it a directory where nothing else is, as in {lastwords.DEFAULT}"
            raise errors.BadInput(f"{text}; {hint}", reason="UnsupportedPodSpec")
        path = layout.message(self._directory.state, own)
        return records.Mount(str(path), directory, read_only=False)

    async def _environment(
        self, pod: desired.DesiredPod, wanted: desired.DesiredContainer, here: observed.ImageHere
    ) -> tuple[tuple[str, str], ...]:
        objects: dict[tuple[str, str], Mapping[str, bytes] | None] = {}
        try:
            async with asyncio.timeout(_ASK_S):
                for kind, name in sorted(environment.wanted_objects(wanted)):
                    objects[kind, name] = await self._source.data(pod.ref.namespace, kind, name)
        except TimeoutError as error:
            text = "cannot read the pod's ConfigMaps and Secrets: the API server does not answer"
            raise errors.Retryable(text, reason="CreateContainerConfigError") from error
        except errors.Retryable as error:
            raise errors.Retryable(str(error), reason="CreateContainerConfigError") from error
        room = self._containers.room()
        if room is None:
            text = "cannot start a container: the runtime has not been heard of"
            raise errors.Retryable(text, reason="RuntimeUnavailable")
        allocatable = node.allocatable(0, room, self._eviction)
        return environment.resolve(pod, wanted, objects, self._place(), allocatable, here.found.env)

    async def _program(
        self, wanted: desired.DesiredContainer, here: observed.ImageHere, env: Mapping[str, str]
    ) -> tuple[image.Program, bool]:
        command = [expansion.expand(each, env) for each in wanted.command]
        args = [expansion.expand(each, env) for each in wanted.args]
        program = self._puller.program(here.found, command, args)
        if program.digest == here.program.digest:
            return program, here.serves
        return program, await self._containers.prepare(program)  # command[0] was expanded


def _holds(directory: Path) -> bool:
    """Say whether something is there that a mount would hide."""
    try:
        return next(directory.iterdir(), None) is not None
    except (FileNotFoundError, ValueError):  # what can be no path
        return False
    except OSError:  # a file, or a link that leads nowhere
        return True
