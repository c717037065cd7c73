"""
Compiled modules: `compiled/ENGINE/KEY`, and `KEY.json` which says what it is.

Code is kept for as long as the module that it was made of lies where it lay:
so it goes with its image, those first that were not used for longest, and
nobody has to tell us which. When to look, the agent says (`prune`), who knows
when images go; what starts, runs or compiles now is left alone.

Only this process writes there, by rename, the JSON last; a key holds all that
the code depends on (module, engine, its version and settings, CPU), so that
nothing in there is ever wrong, only unused. Compiling is a child of the fork
server; each key is compiled once, however many ask, and no more of them run at
once than there are CPUs.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from wasm_node.protocol import messages
from wasm_node.runtime import durable, eventloop, forklink

_TRIES = 3
_ANSWER_BYTES = 1 << 16
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are


@dataclasses.dataclass(frozen=True)
class Artifact:
    """Compiled code: a file name in the engine's directory, and its kind."""

    directory: Path
    name: str
    kind: str


Answer: TypeAlias = Artifact | messages.Refusal
Done: TypeAlias = Callable[[Answer], None]


@dataclasses.dataclass(eq=False)
class _Job:
    path: str
    digest: str
    waiting: list[Done]
    tries: int = 0
    beside: Path | None = None
    answer: bytes = b""


class Cache:
    """Gives out compiled modules, compiling those that are not there."""

    def __init__(
        self, loop: eventloop.EventLoop, link: forklink.ForkLink, root: Path, uid: int | None
    ) -> None:
        self._loop = loop
        self._link = link
        self._root = root
        self._uid = uid
        self._jobs: dict[str, _Job] = {}
        self._queue: collections.deque[_Job] = collections.deque()
        self._slots = os.cpu_count() or 1

    def prepare(self, path: str, digest: str, done: Done) -> None:
        """Call `done` with the compiled module, or with why there is none."""
        kept = self._kept(digest, path) if digest not in self._jobs else None
        if kept is not None:
            done(kept)
        elif digest in self._jobs:
            self._jobs[digest].waiting.append(done)
        else:
            self._jobs[digest] = job = _Job(path, digest, [done])
            self._queue.append(job)
            self.proceed()

    def proceed(self) -> None:
        """Begin what can begin: a slot is free, or the fork server is there."""
        while self._link.about is not None and self._queue and self._slots:
            job = self._queue.popleft()
            # It may have waited for the fork server's hello.
            kept = self._kept(job.digest, job.path)
            if kept is not None:
                self._finish(job, kept)
                continue
            try:
                self._begin(job)
            except OSError as error:
                text = f"cannot compile {job.path}: {error}"
                self._finish(job, _away(text))

    def prune(self, in_use: Callable[[], Collection[str]], done: Callable[[int], None]) -> None:
        """
        Remove code whose module is gone, and that of other engines.

        `done` gets the bytes that came back. `in_use` is asked once it is known
        what could go, for digests of modules whose code has to stay.
        """
        if self._link.about is None:
            done(0)
            return
        about = self._link.about

        def unneeded() -> list[Path]:
            return [each for each in self._root.glob("*/*") if _of(each, about) is not None]

        def remove(found: Sequence[Path]) -> None:
            # NB: what was found is looked at again: things have gone on since.
            begun = {each.beside for each in self._jobs.values()}
            staying: set[str | None] = {None, *in_use(), *self._jobs}
            going = (each for each in found if _of(each, about) not in staying)
            done(sum(_remove(each) for each in going if each not in begun))

        self._loop.apart(unneeded, remove)

    def _kept(self, digest: str, module: str) -> Answer | None:
        if self._link.about is None:
            return None
        path = self._path(digest)
        found = _whole(path)
        if found is None:
            return None
        before = found.get("path", "")
        if before != module and not os.path.exists(before):  # noqa: PTH110  # a str
            with contextlib.suppress(OSError):  # a full disk: then it may be compiled again
                _note(path, {**found, "digest": digest, "path": module})  # of another image
        return self._answer(path, found)

    def _path(self, digest: str) -> Path:
        about = self._link.about
        assert about is not None  # noqa: S101  # callers have looked
        return self._root / about.engine / _key(digest, about)

    def _answer(self, path: Path, found: dict[str, Any]) -> Answer:
        if not found["missing"]:
            return Artifact(path.parent, path.name, found["kind"])
        about = self._link.about
        offers = ", ".join(about.worlds) if about else ""
        text = (
            f"cannot run this {found['kind']}: it imports {', '.join(found['missing'])}, "
            f"which this node does not offer; it offers {offers}"
        )
        if any(each.startswith("wasi:http/") for each in found["missing"]) and "http" not in offers:
            text += "; for HTTP install wasm-node-engine, or use the image, which has it"
        return messages.Refusal(retry=False, reason="MissingImport", message=text)

    def _begin(self, job: _Job) -> None:
        path = self._path(job.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        for each in (path.parent.parent, path.parent):  # workers of other users map the code
            each.chmod(0o755)
        job.beside = path.with_name(f".{path.name}.{os.getpid()}")
        module = os.open(job.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            output = os.open(job.beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError:
            os.close(module)
            raise
        news, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        job.tries += 1
        job.answer = b""
        self._slots -= 1
        self._loop.watch(news, lambda _events: self._heard(job, news))
        order = {"digest": job.digest, "uid": self._uid}
        self._link.order("compile", order, (module, output, writer))

    def _heard(self, job: _Job, news: int) -> None:
        part = os.read(news, _ANSWER_BYTES)
        if part:
            job.answer += part
            return
        self._loop.forget(news)
        os.close(news)
        self._slots += 1
        answer = self._conclude(job)
        if answer is None:
            self._queue.append(job)
        else:
            self._finish(job, answer)
        self.proceed()

    def _conclude(self, job: _Job) -> Answer | None:
        assert job.beside is not None  # noqa: S101  # set when it began
        if not job.answer.endswith(b"\n"):
            job.beside.unlink(missing_ok=True)
            if job.tries < _TRIES:
                return None  # the fork server may have died with it
            text = "cannot compile: the compiler ran out of memory, time or disk, or crashed"
            return messages.Refusal(retry=True, reason="CompileFailed", message=text)
        found = json.loads(job.answer)
        if "invalid" in found:
            job.beside.unlink(missing_ok=True)
            text = f"cannot use {job.path}: {found['invalid']}"
            return messages.Refusal(retry=False, reason="InvalidModule", message=text)
        path = self._path(job.digest)
        try:
            job.beside.chmod(0o444)
            job.beside.rename(path)
            _note(path, {**found, "digest": job.digest, "path": job.path})
        except OSError as error:  # a full disk, as a rule
            job.beside.unlink(missing_ok=True)
            return _away(f"cannot keep the code of {job.path}: {error}")
        return self._answer(path, found)

    def _finish(self, job: _Job, answer: Answer) -> None:
        del self._jobs[job.digest]
        for done in job.waiting:
            done(answer)


def _key(digest: str, about: forklink.About) -> str:
    return hashlib.sha256(f"{digest} {about.key}".encode()).hexdigest()[:40]


def _note(path: Path, found: dict[str, Any]) -> None:
    noted = {**found, "bytes": path.stat().st_size}
    durable.write(path.with_suffix(".json"), json.dumps(noted).encode())


def _whole(path: Path) -> dict[str, Any] | None:
    """Read what is noted of code; None: a power cut has left less than that."""
    try:
        found: dict[str, Any] = json.loads(path.with_suffix(".json").read_bytes())
        return found if found["bytes"] == path.stat().st_size else None
    except (OSError, ValueError, KeyError):
        return None


def _of(path: Path, about: forklink.About) -> str | None:
    """
    Return the module whose code this file is, where that module is gone.

    None: the file is needed. Empty: it is code of another engine, or something
    that was left half done.
    """
    if path.suffix == ".json" and not path.name.startswith("."):
        return None
    try:
        found = json.loads(path.with_suffix(".json").read_bytes())
        digest, module = str(found["digest"]), str(found["path"])
    except (OSError, ValueError, KeyError):
        return ""
    if path.parent.name != about.engine or path.name != _key(digest, about):
        return ""
    return None if os.path.exists(module) else digest  # noqa: PTH110  # a str


def _remove(path: Path) -> int:
    """Remove a file, what says what it is first; return its bytes."""
    path.with_suffix(".json").unlink(missing_ok=True)
    try:
        found = path.stat()
        path.unlink()
    except OSError:  # it has gone
        return 0
    return found.st_blocks * _BLOCK_BYTES


def _away(text: str) -> messages.Refusal:
    return messages.Refusal(retry=True, reason="CreateContainerError", message=text)
