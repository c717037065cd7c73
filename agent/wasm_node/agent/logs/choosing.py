"""
Which attempt of a container `kubectl logs` means.

Decided on the status as it was reported, so that what a user sees and what
they get agree. Rules and words are the kubelet's
(validateContainerLogStatus of pkg/kubelet/kubelet_pods.go): while a container
waits for its restart, the attempt that ended is both the present one and the
previous one.
"""

from collections.abc import Sequence

from wasm_node.agent import errors
from wasm_node.agent.model import podstatus

_WORDS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def choose_attempt(
    pod_name: str,
    container: str,
    statuses: Sequence[podstatus.ContainerStatus],
    *,
    previous: bool,
) -> int:
    """
    Return the number of the attempt.

    Raises:
        NotFound: the pod has no such container.
        BadInput: there is no such attempt (yet); says what it waits for.
    """
    status = next((each for each in statuses if each.name == container), None)
    if status is None:
        raise errors.NotFound(
            f'container "{container}" not found in pod "{pod_name}"', reason="NotFound"
        )
    state, last = status.state, status.last_state.terminated
    if previous:
        if last is None:
            raise _no_log(
                f'previous terminated container "{container}" in pod "{pod_name}" not found'
            )
        return _attempt(last.container_id)
    if state.running is not None:
        return _attempt(status.container_id)
    if state.terminated is not None:
        return _attempt(state.terminated.container_id)
    if last is not None:
        return _attempt(last.container_id)
    where = f'container "{container}" in pod "{pod_name}" is waiting to start'
    if state.waiting is None:
        raise _no_log(f"{where} - no logs yet")
    raise _no_log(f"{where}: {_WORDS.get(state.waiting.reason, state.waiting.reason)}")


def _attempt(container_id: str) -> int:
    return int(container_id.rpartition("/")[2])


def _no_log(message: str) -> errors.BadInput:
    return errors.BadInput(message, reason="BadRequest")
