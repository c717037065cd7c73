"""
`wasm-node run`: agent and runtime in one go, without a cluster.

The counterpart of `agent.app`: the same engine, the same runtime and their
semantics, with files where the API server would be and a terminal where
`kubectl logs` would be. Everything it makes is gone when it ends, except
pulled images and compiled code, which are kept in the user's cache.
"""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wasm_node.agent import engine, errors, interfaces, statedir
from wasm_node.agent.asynckit import clock
from wasm_node.agent.containers import client, workers
from wasm_node.agent.files import images, localpods, manifests
from wasm_node.agent.logs import changes, following, store
from wasm_node.agent.model import actions, desired, ids, log_options, traffic
from wasm_node.agent.oci import lookup, puller
from wasm_node.agent.probes import commands, network
from wasm_node.protocol import records
from wasm_node.protocol import settings as runtime_settings

CANNOT_RUN = 126
INTERRUPTED = 130

_LOOK_S = 0.3
_LOOPBACK = "127.0.0.1"
_SLOW = ("Pulling", "Compiling")


async def run(
    read: Callable[[], manifests.Manifests], *, alone: bool, watched: Path | None, verbose: bool
) -> int:
    """
    Run pods until they have ended, or until SIGINT or SIGTERM.

    Args:
        read: gives what to run; called anew after each change of `watched`.
        alone: a start that fails ends the run; there is nobody who could
            push another image.
        watched: when this file changes, all is ended and begun anew.
        verbose: show every event, not only what needs attention.

    Returns:
        The first exit code of a container that is not 0, else 0.

    Raises:
        NodeError: nothing could be run at all.
    """
    found = read()
    with tempfile.TemporaryDirectory(prefix="wasm-node-") as root:
        directory = _workspace(Path(root))
        async with (
            _runtime(directory, Path(root)),
            puller.RegistryPuller(directory.images) as registry,
            _Laptop.running(directory, images.FilePuller(registry), verbose=verbose) as laptop,
        ):
            while True:
                code = await laptop.session(found, alone=alone, watched=watched)
                if code is not None:
                    return code
                found = read()


def _workspace(root: Path) -> statedir.StateDir:
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wasm-node" / "run"
    made = statedir.StateDir(root / "state", root / "run", root / "logs")
    made.state.mkdir()
    for name in ("images", "compiled"):
        (kept / name).mkdir(parents=True, exist_ok=True)
        (made.state / name).symlink_to(kept / name)
    made.make()
    return made


@contextlib.asynccontextmanager
async def _runtime(directory: statedir.StateDir, root: Path) -> AsyncIterator[None]:
    """
    Run a runtime of our own for the length of the context.

    It outlives us if we are killed, and then removes `root` in our place.
    """
    chosen = runtime_settings.RuntimeSettings(
        state=directory.state,
        run=directory.run,
        logs=directory.logs,
        address=_LOOPBACK,
        shutdown=runtime_settings.AT_ONCE,
        owner=os.getpid(),
        scratch=root,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "wasm_node.runtime", chosen.to_json(), start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


class _Terminal:
    """Events for a person: problems and slow things, the rest on request."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._lively = sys.stderr.isatty()

    @property
    def busy(self) -> bool:
        """Say that nothing waits: it is printed at once."""
        return False

    def progress(self, pod: ids.PodRef, done: int, total: int | None) -> None:
        """Show a transfer on one line of a terminal."""
        if self._lively and total:
            text = f"\r{pod.name}: {done / 2**20:.1f} of {total / 2**20:.1f} MiB"
            end = "\n" if done == total else ""
            print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201  # its job

    def emit(self, pod: ids.PodRef, event: actions.Event) -> None:
        """Print one event to stderr."""
        if event.warning or self._verbose or event.reason in _SLOW:
            who = f"{pod.name}/{event.container}" if event.container else pod.name
            print(f"{who}: {event.message}", file=sys.stderr, flush=True)  # noqa: T201  # its job

    def note(self, event: actions.Event) -> None:
        """Print nothing: there is no node."""

    def serving(self, pod: ids.PodRef, port: int) -> None:
        """Say where a pod can be asked."""
        text = f"{pod.name}: serving on http://{_LOOPBACK}:{port}/ (Ctrl-C ends it)"
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # its job


class _Announcing:
    """HttpWorkers that tell of each attempt whose ports can be asked."""

    def __init__(
        self, behind: interfaces.HttpWorkers, serves: Callable[[records.AttemptId], None]
    ) -> None:
        self._behind = behind
        self._serves = serves

    async def set_accepting(self, attempt: records.AttemptId, *, accepting: bool) -> None:
        """Have its worker take connections, or not; tell, if there is one."""
        await self._behind.set_accepting(attempt, accepting=accepting)
        if accepting and await self._behind.traffic(attempt) is not None:
            self._serves(attempt)

    async def traffic(self, attempt: records.AttemptId) -> traffic.Traffic | None:
        """Return what its worker has counted."""
        return await self._behind.traffic(attempt)


class _Laptop:
    """An engine over files, and the terminal that shows its pods."""

    def __init__(
        self, directory: statedir.StateDir, puller_: images.FilePuller, *, verbose: bool
    ) -> None:
        self._local = localpods.LocalPods()
        self._logs = store.CriLogStore(directory.logs)
        self._news = changes.Changes()
        self._interrupted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._terminal = terminal = _Terminal(verbose=verbose)
        self._found: Mapping[str, desired.DesiredPod] = {}
        self._serving: set[records.AttemptId] = set()
        containers = client.RuntimeContainers(directory.state, directory.socket, calls_hooks=True)
        programs = lookup.DiskPrograms(directory.state, directory.images)
        outside = engine.Outside(
            source=self._local,
            sink=self._local,
            events=terminal,
            puller=puller_,
            containers=containers,
            resources=containers,
            logs=self._logs,
            prober=network.NetworkProber(),
            commands=commands.ContainerCommands(programs, containers),
            workers=_Announcing(workers.SocketWorkers(directory.run), self._serves),
            clock=clock.SystemClock(),
            progress=terminal.progress,
            ended=lambda pod, attempt: self._news.notify(
                self._logs.locate(pod, attempt.container, attempt.attempt)
            ),
        )
        place = engine.Place("localhost", _LOOPBACK)
        self._pods = engine.PodEngine(outside, directory, place)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, directory: statedir.StateDir, puller_: images.FilePuller, *, verbose: bool
    ) -> AsyncIterator["_Laptop"]:
        made = cls(directory, puller_, verbose=verbose)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, made._interrupt)
        with made._news:
            async with asyncio.TaskGroup() as group:
                engine_task = group.create_task(made._pods.run())
                yield made
                engine_task.cancel()

    def _interrupt(self) -> None:
        (self._hurried if self._interrupted.is_set() else self._interrupted).set()

    def _serves(self, attempt: records.AttemptId) -> None:
        pod = self._found.get(attempt.pod_uid)
        if pod is not None and attempt not in self._serving:
            self._serving.add(attempt)
            for port in pod.container(attempt.container).tcp_ports():
                self._terminal.serving(pod.ref, port)

    async def session(
        self, found: manifests.Manifests, *, alone: bool, watched: Path | None
    ) -> int | None:
        """Run these pods; None: the watched file changed, begin anew."""
        self._found = {each.ref.uid: each for each in found.pods}
        self._local.apply(found)
        async with asyncio.TaskGroup() as group:
            shown = group.create_task(self._show(found))
            enough: list[asyncio.Task[Any]] = [group.create_task(self._interrupted.wait())]
            if alone and watched is None:
                enough += [
                    group.create_task(self._local.stuck(each.ref.uid)) for each in found.pods
                ]
            changed = group.create_task(_changed(watched) if watched else _never())
            ending = [*enough, changed] if watched else [shown, *enough]
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            code = self._code(shown, changed)
            hurry = group.create_task(self._end(found, gently=code == INTERRUPTED))
            for pod in found.pods:
                await self._local.removed(pod.ref.uid)
            await shown
            for each in (*enough, changed, hurry):
                each.cancel()
        return code

    async def _end(self, found: manifests.Manifests, *, gently: bool) -> None:
        """Have pods end; gently: those that serve finish their answers."""
        asked = {each.pod_uid for each in self._serving} if gently else set()
        for pod in found.pods:
            self._local.delete(pod.ref.uid, grace_s=None if pod.ref.uid in asked else 0.0)
        await self._hurried.wait()
        for pod in found.pods:
            self._local.delete(pod.ref.uid, grace_s=0.0)

    def _code(
        self, shown: "asyncio.Task[Sequence[Mapping[str, Any]]]", changed: "asyncio.Task[None]"
    ) -> int | None:
        if self._interrupted.is_set():
            return INTERRUPTED
        if changed.done():
            return None
        if not shown.done():
            return CANNOT_RUN
        pairs = zip(self._found.values(), shown.result(), strict=True)
        codes = (code for pod, status in pairs for code in _exit_codes(pod, status))
        return next(filter(None, codes), 0)

    async def _show(self, found: manifests.Manifests) -> Sequence[Mapping[str, Any]]:
        """Show all logs to their ends; return the pods' last statuses."""
        several = sum(len(pod.all_containers) for pod in found.pods) > 1
        async with asyncio.TaskGroup() as group:
            for pod in found.pods:
                for each in pod.all_containers:
                    group.create_task(self._show_container(pod, each, prefixed=several))
            ends = [group.create_task(self._local.over(pod.ref.uid)) for pod in found.pods]
        return [each.result() for each in ends]

    async def _show_container(
        self, pod: desired.DesiredPod, wanted: desired.DesiredContainer, *, prefixed: bool
    ) -> None:
        attempt = 0
        prefix = f"{pod.ref.name}/{wanted.name} | ".encode() if prefixed else b""
        while await self._local.begun(pod.ref.uid, wanted.name, attempt):
            which = records.AttemptId(pod.ref.uid, wanted.name, attempt)
            async with asyncio.TaskGroup() as group:
                for stream, file in (("Stdout", sys.stdout.buffer), ("Stderr", sys.stderr.buffer)):
                    options = log_options.LogOptions(follow=True, stream=log_options.Stream(stream))
                    group.create_task(self._copy(pod.ref, which, options, prefix, file))
            attempt += 1

    async def _copy(
        self,
        pod: ids.PodRef,
        attempt: records.AttemptId,
        options: log_options.LogOptions,
        prefix: bytes,
        file: Any,
    ) -> None:
        with contextlib.suppress(errors.NotFound):  # removed before we came to read it
            async with following.open_log(
                self._logs.locate(pod, attempt.container, attempt.attempt),
                options,
                is_running=lambda: self._pods.is_running(attempt),
                news=self._news,
            ) as pieces:
                async for piece in pieces:
                    lines = re.findall(rb"[^\n]*\n|[^\n]+", piece)
                    file.write(b"".join(prefix + each for each in lines))
                    file.flush()


def _exit_codes(pod: desired.DesiredPod, status: Mapping[str, Any]) -> Iterator[int]:
    """Yield its containers' codes in their order, which is not statuses'."""
    if status.get("phase") == "Succeeded":
        return  # then a sidecar's counts for nothing
    listed = (status.get(kind, ()) for kind in ("containerStatuses", "initContainerStatuses"))
    states = {each["name"]: each["state"] for each in itertools.chain(*listed)}
    for each in (*pod.containers, *pod.init_containers):
        yield states.get(each.name, {}).get("terminated", {}).get("exitCode", 0)


async def _changed(path: Path) -> None:
    """Return once the file is another one, or has been written to."""
    before = _version(path)
    while _version(path) in (before, None):  # noqa: ASYNC110  # on any file system
        await asyncio.sleep(_LOOK_S)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None  # being replaced by an editor: look again
    return found.st_ino, found.st_size, found.st_mtime_ns


async def _never() -> None:
    await asyncio.get_running_loop().create_future()
