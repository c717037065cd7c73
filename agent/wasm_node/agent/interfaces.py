"""
Every seam of the agent on one page.

The loops are written against these Protocols; `agent.app` builds the real
ones and hands them over, tests hand over fakes. Each interface has one
contract suite in tests/contract, which the fake and the real thing both pass.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from wasm_node.agent.model import actions, desired, ids, image, manifest, observed, probe, traffic
from wasm_node.protocol import messages, records


class PodSource(Protocol):
    """Where wanted pods come from: the API server, or files."""

    def changes(self) -> AsyncIterator[Sequence[desired.DesiredPod] | desired.DesiredPod]:
        """
        Yield a full list first and after every gap, then single pods.

        A pod missing from a full list is gone, however it went. Ends never;
        a source that is away only delays it.
        """

    async def data(self, namespace: str, kind: str, name: str) -> Mapping[str, bytes] | None:
        """
        Return the keys of a ConfigMap or Secret; None: there is none.

        Raises:
            Retryable: it cannot be asked now.
        """


class OwnNode(Protocol):
    """This node's Node, by whose labels and taints pods are admitted."""

    async def read(self, *, fresh: bool) -> manifest.Node:
        """
        Return it as it was read last, by whomever; `fresh`: as it is now.

        Raises:
            NotFound: there is none (any more); it may be made again.
            Retryable: it cannot be read now.
        """


class Puller(Protocol):
    """Images: fetched once, checked, kept."""

    async def pull(
        self, reference: str, *, progress: Callable[[int, int | None], None] | None = None
    ) -> image.Image:
        """
        Fetch what the reference names now, unless those bytes are here already.

        Concurrent pulls of one reference share one transfer. `progress` gets
        bytes so far and in all (None: not known), from the event loop.

        Raises:
            BadInput: `InvalidImageName`, or an image no wasm node can use.
            NotFound: `ErrImagePull`, the registry has no such thing.
            Retryable: `ErrImagePull`, anything that may pass.
        """

    async def local(self, reference: str) -> image.Image | None:
        """Return the image last pulled under this reference, if it is whole."""

    def program(
        self, found: image.Image, command: Sequence[str], args: Sequence[str]
    ) -> image.Program:
        """
        Find what to run, by Kubernetes' rules for command and args.

        Raises:
            BadInput: nothing to run, not found, or not wasm; says which.
        """


@dataclasses.dataclass(frozen=True)
class Streams:
    """
    Descriptors of ours for a program; their modes are left as they are.

    They may be pipes, sockets, terminals, files, /dev/null.
    """

    stdin: int
    stdout: int
    stderr: int


class Containers(Protocol):
    """The agent's end of the runtime socket."""

    async def prepare(self, program: image.Program) -> bool:
        """
        Compile, so that a start is quick; returns at once when it is cached.

        Says whether the program answers HTTP requests instead of being run.

        Raises:
            BadInput: not valid wasm, or it imports what this node cannot give.
            Retryable: the runtime is away or out of room.
        """

    async def start(self, spec: records.ContainerSpec, *, life: str = "") -> observed.Running:
        """
        Run one attempt; asked again for the same attempt, it says the same.

        With a `life`, no runtime runs it but the one that said so.

        Raises:
            BadInput: this spec can never start.
            Outdated: the runtime is another one by now.
            Retryable: the runtime is away or out of room.
        """

    async def stop(self, attempt: records.AttemptId, *, grace_s: float) -> None:
        """
        Have it end within `grace_s`; its end then arrives as a fact.

        Asking again may only shorten the grace. An attempt that has ended, or
        was never started, is no error.
        """

    async def execute(
        self,
        attempt: records.AttemptId,
        program: image.Program,
        *,
        export: str,
        streams: Streams,
    ) -> records.ExitRecord:
        """
        Run a program beside a running attempt, in its sandbox, until it ends.

        With an `export` that function is called instead of its start: without
        parameters, and what it returns is the exit code. `streams` stay open
        here. It ends with its attempt: 137, by `STOP`. Cancelled, it kills
        the run.

        Raises:
            NotFound: `NotRunning`, the attempt does not run (any more).
            BadInput: this program can never run there.
            Retryable: the runtime is away or out of room.
        """

    async def forget(self, pod: ids.PodUid) -> None:
        """Drop all records and limits of a pod of which nothing runs."""

    def room(self) -> messages.Room | None:
        """Return what the runtime may use, as it last said; None: never yet."""

    def life(self) -> str:
        """
        Return the word of the runtime whose list was taken in last.

        What is decided by facts is for this one. Empty before the first list.
        """

    def facts(self) -> AsyncIterator[observed.News]:
        """
        Yield a full list at first and after each reconnection, then changes.

        Ends never: a runtime that is away is news, perhaps more than once,
        and the next list comes when it is back. One that ends says so before,
        or right after a list.
        """


class Resources(Protocol):
    """What pods share through the runtime, and what each of them has of it."""

    async def left(self) -> tuple[messages.Level, messages.Level]:
        """
        Return how much memory is left, and how many tasks.

        Raises:
            Retryable: the runtime is away.
        """

    async def shares(self) -> Sequence[messages.Share]:
        """
        Return what each attempt that runs uses.

        Raises:
            Retryable: the runtime is away.
        """

    async def disk(self, pod: ids.PodUid) -> messages.PodDisk:
        """
        Return what its volumes and last words take of the disk.

        Raises:
            Retryable: the runtime is away, or the disk is slow.
        """

    async def release(self, pod: ids.PodUid) -> None:
        """
        Remove the volumes of a pod of which nothing runs; none is fine.

        Raises:
            Retryable: something of it runs, or the runtime is away.
        """

    async def prune(self) -> int:
        """
        Remove compiled code whose module is gone; return the bytes it took.

        Not of what runs, starts or is being compiled.

        Raises:
            Retryable: the runtime is away.
        """


class Images(Protocol):
    """The images that lie on this node."""

    def names(self, texts: Collection[str]) -> frozenset[str]:
        """
        Return references in full, and the digests that they insist on.

        Those that are none are left out. A digest names its image whatever
        name that has here: so does a pull look for it.
        """

    async def collect(
        self, choose: Callable[[Sequence[image.Kept]], image.Choice], *, rest_before: float
    ) -> image.Collected:
        """
        Have it chosen, once, of all images what goes, and remove that.

        Not what a pull wanted since before the choice: whoever asks for what
        goes is held up, and then finds it gone. Those that are chosen as used
        are used now. What no image needs goes too, if it came before then
        (unix seconds).

        Raises:
            Retryable: `ImageGCFailed`, something cannot be removed.
        """


class Programs(Protocol):
    """What commands mean in containers that run."""

    async def find(self, attempt: records.AttemptId, command: Sequence[str]) -> image.Command:
        """
        Look `command[0]` up in what the attempt's guest sees.

        Raises:
            BadInput: nothing of that name, or not wasm; says which.
            NotFound: there is no such attempt on this node.
            Retryable: its image cannot be read now.
        """


class HttpWorkers(Protocol):
    """The workers of containers that serve HTTP, each by a way of its own."""

    async def set_accepting(self, attempt: records.AttemptId, *, accepting: bool) -> None:
        """
        Have its worker take connections on the container's ports, or not.

        May be said again. An attempt that serves no HTTP is no error: nothing
        happens then.

        Raises:
            Retryable: its worker cannot be told now.
        """

    async def traffic(self, attempt: records.AttemptId) -> traffic.Traffic | None:
        """
        Return what its worker has counted; None: it serves no HTTP.

        Raises:
            Retryable: its worker does not tell now.
        """


class Prober(Protocol):
    """Checks of containers, as somebody outside of them sees them."""

    async def call(
        self, wanted: probe.HttpGet, at: probe.Endpoint, *, within_s: float
    ) -> probe.Outcome:
        """
        Carry out the httpGet of a hook: whatever is answered, it passes.

        Nothing the other side does is an exception, as of `probe`.
        """

    async def probe(self, wanted: probe.Probe, at: probe.Endpoint) -> probe.Outcome:
        """
        Carry out one check, within its timeout.

        Whatever the other side does is an outcome, never an exception; the
        endpoint is where the check's port is, or its own `host` if it has one.
        """


class Commands(Protocol):
    """Checks and hooks that are commands inside of containers."""

    async def call(
        self, wanted: probe.Exec, attempt: records.AttemptId, *, within_s: float
    ) -> probe.Outcome:
        """
        Carry out the exec of a hook; its program's compilation is of the time.

        Nothing the guest does is an exception, as of `probe`.
        """

    async def probe(self, wanted: probe.Probe, attempt: records.AttemptId) -> probe.Outcome:
        """
        Carry out one check that is an Exec, within its timeout.

        Whatever becomes of it is an outcome, never an exception. The timeout
        is the guest's: neither waiting for others nor compiling counts.
        """


class StatusSink(Protocol):
    """Where statuses and removals of pods go."""

    async def write(self, pod: ids.PodRef, status: Mapping[str, Any]) -> None:
        """
        Patch `status` (JSON as plain dicts) of exactly this pod.

        Raises:
            NotFound: there is no pod of that name and uid any more.
            Retryable: it may go through later.
        """

    async def remove(self, pod: ids.PodRef) -> None:
        """
        Delete the object with grace 0 and this uid; gone already is fine.

        Raises:
            Retryable: it may go through later.
        """


class Events(Protocol):
    """What happened, for `kubectl describe`; lossy under pressure."""

    @property
    def busy(self) -> bool:
        """Whether any waits to be told or is on its way."""

    def emit(self, pod: ids.PodRef, event: actions.Event) -> None:
        """Queue one event; never waits, never fails."""

    def note(self, event: actions.Event) -> None:
        """Queue one event of the node itself; likewise."""


class LogStore(Protocol):
    """CRI log files of containers."""

    def path(self, pod: ids.PodRef, container: str, attempt: int) -> Path:
        """Return where this attempt's log goes, its directory made."""

    def prune(self, pod: ids.PodRef, container: str, oldest: int) -> None:
        """Delete the logs of the container's attempts before `oldest`."""

    def remove(self, pod: ids.PodRef) -> None:
        """Delete all logs of a pod."""

    def used(self, pod: ids.PodRef) -> Mapping[str, messages.DiskUse]:
        """Return what a pod's logs take of the disk, by container."""


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> float:
        """Return unix time in seconds."""

    def monotonic(self) -> float:
        """Return seconds of a time that is never set, for what is periodic."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
