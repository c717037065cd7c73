"""Pods as tests write and read them."""

from collections.abc import Callable
from typing import Any

from e2e.watching import Pod, Seen

TOLERATION = {"key": "kubernetes.io/arch", "operator": "Equal", "value": "wasm32-wasi"}


def spec(image: str, *args: object, restart: str = "Never", **container: Any) -> dict[str, Any]:
    """Give a PodSpec of one container `main` that only a wasm node runs."""
    main = {"name": "main", "image": image, "args": [str(each) for each in args]}
    return {
        "restartPolicy": restart,
        "nodeSelector": {TOLERATION["key"]: TOLERATION["value"]},
        "tolerations": [TOLERATION],
        "containers": [main | container],
    }


def pod(
    name: str, image: str, *args: object, restart: str = "Never", **container: Any
) -> dict[str, Any]:
    """Give a Pod; see `spec`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": spec(image, *args, restart=restart, **container),
    }


def workload(
    kind: str, name: str, spec: dict[str, Any], *, about: dict[str, Any] | None = None, **own: Any
) -> dict[str, Any]:
    """
    Give a Deployment or the like of pods that are labelled `app: NAME`.

    Args:
        kind: of apps/v1.
        name: of it.
        spec: of its pods.
        about: metadata of its pods, beside the label.
        own: more of its own spec, such as `replicas`.
    """
    labels = {"app": name}
    template = {"metadata": {"labels": labels, **(about or {})}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **own},
    }


def condition(found: Pod, kind: str) -> dict[str, Any]:
    """Return a condition of a Pod or Node; empty where it has none."""
    held = (each for each in found["status"].get("conditions", ()) if each["type"] == kind)
    return next(held, {})


def is_ready(seen: Seen) -> bool:
    """Say whether the pod is Ready."""
    return condition(seen.pod, "Ready").get("status") == "True"


def field_env(**paths: str) -> list[dict[str, Any]]:
    """Give `env` entries that read fields of the pod."""
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in paths.items()
    ]


def status(pod: Pod) -> dict[str, Any]:
    """Return the status of the container `main`; empty before there is one."""
    for each in pod["status"].get("containerStatuses", ()):
        if each["name"] == "main":
            found: dict[str, Any] = each
            return found
    return {}


def state(pod: Pod, kind: str) -> dict[str, Any]:
    """Return `state.waiting`, `.running` or `.terminated` of `main`, or {}."""
    found: dict[str, Any] = status(pod).get("state", {}).get(kind) or {}
    return found


def is_over(seen: Seen) -> bool:
    """Say whether the pod has ended, well or not."""
    return seen.pod["status"].get("phase") in ("Succeeded", "Failed")


def is_running(seen: Seen) -> bool:
    """Say whether the container runs."""
    return "startedAt" in state(seen.pod, "running")


def is_waiting(seen: Seen) -> bool:
    """Say whether the container waits, and says why beyond being created."""
    reason: str = state(seen.pod, "waiting").get("reason", "ContainerCreating")
    return reason not in ("ContainerCreating", "PodInitializing")


def is_deleting(seen: Seen) -> bool:
    """Say whether somebody has asked for its deletion."""
    return "deletionTimestamp" in seen.pod["metadata"]


def is_gone(seen: Seen) -> bool:
    """Say whether the object is no more."""
    return seen.type == "DELETED"


def is_as_new_as(version: int) -> Callable[[Seen], bool]:
    """Say whether it is of that resourceVersion or later (KEP-5504)."""
    return lambda seen: int(seen.pod["metadata"]["resourceVersion"]) >= version
