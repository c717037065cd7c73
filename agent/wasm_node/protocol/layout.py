"""
Where the two programs leave things for each other below the state directory.

`pods/UID/containers/NAME/ATTEMPT/` is one attempt: `spec.json` (the agent's),
`worker.jsonl` (the worker's own, see `journal`), `life`, `stop.json` and
`exit.json` (the supervisor's), and `message/` with the guest's last words while
it runs.
Every id is checked before it becomes part of a path: what comes over the socket
must not be able to leave the directory.
"""

import hashlib
import re
from pathlib import Path

from wasm_node.protocol import records

SOCKET = "runtime.sock"
"""In the run directory. It answers Hello as soon as the runtime is ready."""
SPEC = "spec.json"
WORKERS = "workers"
"""In the run directory: two sockets for each worker that serves HTTP."""
EXECS = "execs"
"""In the run directory: one directory for each program beside an attempt."""
JOURNAL = "worker.jsonl"
MESSAGE = "message"
"""In an attempt's directory: what the guest sees around its last words."""
STOP = "stop.json"
EXIT = "exit.json"
LIFE = "life"
"""By which runtime an attempt was begun: each has a word of its own."""
SPARED = "spared"
"""How many kills in an attempt's group were of programs beside it."""
TRASH = "trash"
"""In the state directory: what was volumes of pods, about to be removed."""
UID = "uid"
"""In a pod's directory: the number its workers run as."""

_POD_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_CONTAINER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST_ATTEMPTS = 10**9
_SOCKET_BYTES = 107
"""Of the path of a socket, at most: sun_path of unix(7), less its zero byte."""


def check_run(run: Path) -> None:
    """
    Raise ValueError unless all sockets below a run directory can be made.

    Whoever makes them or connects to them asks this at the start: otherwise
    the first pod that serves HTTP would be told, and nobody before it.

    Raises:
        ValueError: with what is wrong and what to do in its text.
    """
    some = records.AttemptId("", "", 0)
    below = (run / SOCKET, guest_socket(run, some), admin_socket(run, some))
    longest, length = max(len(bytes(each)) for each in below), len(bytes(run))
    if longest > _SOCKET_BYTES:
        raise ValueError(
            f"cannot use {run} as the run directory: its path has {length} bytes, and sockets below"
            f" it allow {_SOCKET_BYTES - (longest - length)}; choose a shorter one (--run, runDir"
            " of the agent, TMPDIR for `wasm-node run`)"
        )


def check_pod_uid(uid: object) -> None:
    """
    Raise ValueError unless the uid can name a directory.

    Raises:
        ValueError: with the uid in its text.
    """
    if not isinstance(uid, str) or _POD_UID.fullmatch(uid) is None:
        raise ValueError(f"cannot use {uid!r} as a pod uid")


def checked(attempt: records.AttemptId) -> records.AttemptId:
    """
    Return the id, fit to be part of a path.

    Raises:
        ValueError: it could name something outside its directory.
    """
    check_pod_uid(attempt.pod_uid)
    if not isinstance(attempt.container, str) or not _CONTAINER.fullmatch(attempt.container):
        raise ValueError(f"cannot use {attempt.container!r} as a container name")
    if type(attempt.attempt) is not int or not 0 <= attempt.attempt < _MOST_ATTEMPTS:
        raise ValueError(f"cannot use {attempt.attempt!r} as an attempt number")
    return attempt


def pods(state: Path) -> Path:
    """Return the directory of all pods."""
    return state / "pods"


def pod(state: Path, uid: str) -> Path:
    """Return the directory of one pod."""
    return pods(state) / uid


def volumes(state: Path, uid: str) -> Path:
    """Return the directory of all volumes of one pod."""
    return pod(state, uid) / "volumes"


def volume(state: Path, uid: str, name: str) -> Path:
    """
    Return the directory of one volume.

    Raises:
        ValueError: the name could lead outside of the pod's directory.
    """
    if not _CONTAINER.fullmatch(name):  # the API has the same rule for both
        raise ValueError(f"cannot use {name!r} as a volume name")
    return volumes(state, uid) / name


def container(state: Path, attempt: records.AttemptId) -> Path:
    """Return the directory of all attempts of one container."""
    return pod(state, attempt.pod_uid) / "containers" / attempt.container


def attempt(state: Path, each: records.AttemptId) -> Path:
    """Return the directory of one attempt."""
    return container(state, each) / str(each.attempt)


def message(state: Path, each: records.AttemptId) -> Path:
    """Return the directory of the file for an attempt's last words."""
    return attempt(state, each) / MESSAGE


def messages(state: Path, uid: str) -> list[Path]:
    """List those directories of one pod: of what runs, one each."""
    return list(pod(state, uid).glob(f"containers/*/*/{MESSAGE}"))


def container_of(message: Path) -> str:
    """Return whose last words such a directory holds."""
    return message.parts[-3]


def guest_socket(run: Path, each: records.AttemptId) -> Path:
    """Return where the guest of one attempt answers HTTP, for us alone."""
    return run / WORKERS / f"{_short(each)}.guest"


def admin_socket(run: Path, each: records.AttemptId) -> Path:
    """Return where its worker is told to accept, and asked for figures."""
    return run / WORKERS / f"{_short(each)}.admin"


def _short(each: records.AttemptId) -> str:
    # NB: the path of a socket is short, see check_run.
    return hashlib.sha256(str(each).encode()).hexdigest()[:16]


def attempts(state: Path) -> list[records.AttemptId]:
    """List all attempts on disk, in order; names that are no ids are passed."""
    found = []
    for path in pods(state).glob("*/containers/*/*"):
        uid, name, number = path.parts[-4], path.parts[-2], path.parts[-1]
        if number.isdecimal():
            found.append(records.AttemptId(uid, name, int(number)))
    return sorted(
        (each for each in found if _is_safe(each)),
        key=lambda each: (each.pod_uid, each.container, each.attempt),
    )


def _is_safe(each: records.AttemptId) -> bool:
    try:
        checked(each)
    except ValueError:
        return False
    return True
