"""
Finding a log by names on disk alone, for when nobody can be asked.

`wasm-node logs` reads this way: no agent, no runtime and no API server are
needed to see what a container wrote. Names come from the directories that
`store` made; whether an attempt still runs, its exit record says.
"""

from pathlib import Path

from wasm_node.agent import errors
from wasm_node.agent.logs import store
from wasm_node.agent.model import ids
from wasm_node.protocol import layout, records


def find_attempt(
    root: Path, namespace: str, pod: str, container: str | None, *, previous: bool
) -> tuple[ids.PodRef, records.AttemptId]:
    """
    Return which pod and attempt is meant, the newest where names are shared.

    Without a container's name, the pod must have one only.

    Raises:
        NotFound: there is no such log here; says what there is.
        BadInput: which container is meant is not clear.
        Retryable: the logs cannot be read, by this user at least.
    """
    try:
        ref = _pod(root, namespace, pod)
        directory = root / store.directory_name(ref)
        name = _container(directory, pod, container)
        numbers = sorted(int(each.stem) for each in (directory / name).glob("[0-9]*.log"))
    except OSError as error:
        raise errors.Retryable(
            f"cannot read logs below {root}: {error.strerror}", reason="LogUnreadable"
        ) from error
    if len(numbers) <= previous:
        what = "previous terminated container" if previous else "log of container"
        raise errors.NotFound(f'{what} "{name}" in pod "{pod}" not found', reason="NotFound")
    return ref, records.AttemptId(ref.uid, name, numbers[-2 if previous else -1])


def has_ended(state: Path, attempt: records.AttemptId) -> bool:
    """Say whether the attempt is over, by its records."""
    directory = layout.attempt(state, attempt)
    return not directory.exists() or (directory / layout.EXIT).exists()


def _pod(root: Path, namespace: str, pod: str) -> ids.PodRef:
    found = []
    for directory in root.iterdir():
        uid = directory.name.rpartition("_")[2]
        ref = ids.PodRef(namespace, pod, ids.PodUid(uid))
        if directory.name == store.directory_name(ref):
            found.append((directory.stat().st_mtime_ns, ref))
    if not found:
        raise errors.NotFound(
            f'pod "{pod}" in namespace "{namespace}" has no logs in {root}', reason="NotFound"
        )
    return max(found)[1]


def _container(directory: Path, pod: str, container: str | None) -> str:
    names = sorted(each.name for each in directory.iterdir())
    if container is None and len(names) > 1:
        raise errors.BadInput(
            f'a container name must be specified for pod "{pod}" with -c,'
            f" choose one of: [{' '.join(names)}]",
            reason="BadRequest",
        )
    if not names or container not in (None, *names):
        raise errors.NotFound(
            f'container "{container or ""}" not found in pod "{pod}": it has [{" ".join(names)}]',
            reason="NotFound",
        )
    return container or names[0]
