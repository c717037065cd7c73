"""A real runtime for tests: its processes, its containers, their logs."""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tests.wasm import guests
from wasm_node.agent import errors
from wasm_node.agent.containers import client
from wasm_node.agent.model import ids, image, observed
from wasm_node.protocol import layout, records, settings

PACKAGES = Path(client.__file__).parents[3]
ENGINES = (
    settings.WASMTIME_PY,
    *([settings.NATIVE] if importlib.util.find_spec("wasm_node_engine") else []),
)
"""All that this environment has; `make engine` adds our own, where cargo is."""
WITHIN_S = 15.0

Answer = TypeVar("Answer")


class RunningRuntime:
    """One runtime with directories of its own; `start` may be called again."""

    def __init__(self, root: Path, through: Sequence[str] = (), engine: str | None = None) -> None:
        self._through = through
        self.settings = settings.RuntimeSettings(
            state=root / "state",
            run=root / "run",
            logs=root / "logs",
            shutdown=settings.AT_ONCE,
            engine=engine,
        )
        self.containers = self._client()
        self.process: subprocess.Popen[bytes] | None = None
        self.mount = root / "mount"
        self.mount.mkdir()
        self.mount.chmod(0o777)

    def _client(self) -> client.RuntimeContainers:
        return client.RuntimeContainers(
            self.settings.state, self.settings.run / layout.SOCKET, calls_hooks=True
        )

    def start(self) -> None:
        """
        Start it and return once its socket can be connected to.

        Who asks it from then on knows nothing of the one before.
        """
        self.containers = self._client()
        env = {**os.environ, "PYTHONPATH": str(PACKAGES)}
        words = [
            *self._through,
            sys.executable,
            "-P",
            "-m",
            "wasm_node.runtime",
            self.settings.to_json(),
        ]
        self.process = subprocess.Popen(words, env=env, start_new_session=True)
        until(self._is_there, "the runtime listens")

    def _is_there(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.settings.run / layout.SOCKET)) == 0

    def end(self) -> int:
        """Tell it to end and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(WITHIN_S)

    def spec(
        self,
        guest: str | Path,
        *args: str,
        pod: str = "pod",
        attempt: int = 0,
        memory: int | None = None,
        cpu: int | None = None,
        env: Sequence[tuple[str, str]] = (),
        mounts: Sequence[records.Mount] = (),
    ) -> records.ContainerSpec:
        """Describe an attempt of a guest of tests.wasm, or of a file."""
        path = guest if isinstance(guest, Path) else guests.path(guest)
        self.settings.logs.mkdir(parents=True, exist_ok=True)
        return records.ContainerSpec(
            id=records.AttemptId(pod, "main", attempt),
            pod_namespace="default",
            pod_name=f"{pod}-name",
            module_path=str(path),
            module_digest=digest(path),
            argv=("guest", *args),
            env=tuple(env),
            mounts=tuple(mounts),
            log_path=str(self.settings.logs / f"{pod}-{attempt}.log"),
            memory_limit_bytes=memory,
            cpu_limit_millis=cpu,
        )

    async def prepared(self, spec: records.ContainerSpec) -> None:
        """Have its guest compiled, however long that takes."""
        await self.containers.prepare(program(Path(spec.module_path)))

    async def started(self, spec: records.ContainerSpec) -> observed.Running:
        """Start it, as often as the runtime says that it may be asked again."""
        return await patiently(lambda: self.containers.start(spec))

    async def ended(self, attempt: records.AttemptId) -> records.ExitRecord:
        """Wait for the ending of an attempt."""
        async with asyncio.timeout(WITHIN_S), contextlib.aclosing(self.facts()) as facts:
            async for fact in facts:
                if isinstance(fact, observed.Ended) and fact.id == attempt:
                    return fact.exit
        raise AssertionError("facts end never")

    async def run(self, spec: records.ContainerSpec) -> records.ExitRecord:
        """Start it and wait for its ending."""
        await self.started(spec)
        return await self.ended(spec.id)

    async def facts(self) -> AsyncGenerator[observed.Fact, None]:
        """Yield facts one by one, those of a list first."""
        async for news in self.containers.facts():
            for fact in observed.facts(news):
                yield fact

    def log(self, spec: records.ContainerSpec) -> list[tuple[str, str, str]]:
        """Return its log as (stream, tag, text), checked for form."""
        lines = []
        for line in Path(spec.log_path).read_text().splitlines():
            stamp, stream, tag, text = line.split(" ", 3)
            assert len(stamp) == len("2026-11-22T23:20:05.123456789Z")
            lines.append((stream, tag, text))
        return lines

    def service(self, name: str) -> int:
        """Return the pid of the supervisor or the fork server."""
        assert self.process is not None
        wanted = f"wasm-node {name}"[:15]
        found: list[int] = []

        def look() -> bool:
            assert self.process is not None
            found[:] = [pid for pid in children(self.process.pid) if comm(pid) == wanted]
            return bool(found)

        until(look, f"there is a {name}")
        return found[0]

    def kill(self, name: str) -> None:
        """Kill the supervisor or the fork server with -9, and see it gone."""
        pid = self.service(name)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_process(pid), f"the old {name} is gone")


@contextlib.contextmanager
def runtime(through: Sequence[str] = (), *, engine: str | None = None) -> Iterator[RunningRuntime]:
    """
    Run one, `through` another command; nothing is left of it afterwards.

    Without an `engine` it is the one that a node would take.
    """
    with tempfile.TemporaryDirectory(prefix="wn-") as root:  # short: it holds a socket
        made = RunningRuntime(Path(root), through, engine)
        made.start()
        try:
            yield made
        finally:
            if made.process is not None and made.process.poll() is None:
                made.end()


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Call until it does not say Retryable."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await ask()
            except errors.Retryable:
                await asyncio.sleep(0.01)


def program(path: Path) -> image.Program:
    """Return the program of a file, for prepare."""
    return image.Program(path, ids.Digest(digest(path)), image.Kind.MODULE, ("guest",))


def command(guest: str, *args: str) -> image.Program:
    """Return a guest of tests.wasm by its name, as one would type it."""
    path = guests.path(guest)
    return image.Program(path, ids.Digest(digest(path)), image.Kind.MODULE, (guest, *args))


def digest(path: Path) -> str:
    """Return the digest of a file."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def until(condition: Callable[[], bool], what: str, *, within_s: float = WITHIN_S) -> None:
    """Return once the condition holds; fail with `what` after a deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """List the children of a process."""
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def comm(pid: int) -> str:
    """Return the name of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def thread_count(pid: int) -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def open_paths(pid: int) -> set[str]:
    """Return what the descriptors of a process are."""
    return {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}


def is_gone(pid: int) -> bool:
    """Say whether no process of that pid is alive."""
    return not is_process(pid)


def is_process(pid: int) -> bool:
    """Say whether a process of that pid exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
