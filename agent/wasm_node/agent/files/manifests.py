"""
Manifests from files: Pods, ConfigMaps and Secrets, as one would apply them.

What the API server would add is added here: namespace, uid, defaults. Kinds
that need a controller (a Deployment, a Job) are refused by name.
"""

import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from wasm_node.agent import errors
from wasm_node.agent.model import desired, objects, parsing

FILE_SCHEME = "file:"
"""Of an image that is a .wasm or .wat on this host."""

Objects = Mapping[tuple[str, str, str], Mapping[str, bytes]]
"""(namespace, kind, name) to data."""


@dataclasses.dataclass(frozen=True)
class Manifests:
    """What a file holds."""

    pods: tuple[desired.DesiredPod, ...]
    objects: Objects


def read(path: Path) -> Manifests:
    """
    Read all documents of a file; uids are new each time.

    Raises:
        BadInput: which document, and what is wrong with it.
    """
    pods: list[desired.DesiredPod] = []
    found: dict[tuple[str, str, str], Mapping[str, bytes]] = {}
    for number, document in enumerate(_documents(path), start=1):
        kind = document.get("kind")
        meta = document.setdefault("metadata", {})
        meta.setdefault("namespace", "default")
        if not meta.get("name"):
            raise _bad(path, number, f"{kind or 'object'} has no metadata.name")
        if kind == "Pod":
            if document.get("spec", {}).get("ephemeralContainers"):
                raise _bad(
                    path, number, "spec.ephemeralContainers are for pods that run already, on a "
                    "cluster: make them containers"
                )  # fmt: skip
            _anchor(document, path.parent)
            pods.append(_pod(document, path, number))
        elif kind in ("ConfigMap", "Secret"):
            found[meta["namespace"], kind, meta["name"]] = objects.data(kind, document)
        else:
            raise _bad(
                path, number, f"cannot run a {kind or 'document without kind'} without a "
                "cluster: use a Pod (with ConfigMaps and Secrets)"
            )  # fmt: skip
    if not pods:
        raise errors.BadInput(f"cannot run {path}: there is no Pod in it", reason="InvalidManifest")
    return Manifests(tuple(pods), found)


def bare(path: Path, name: str, args: tuple[str, ...], port: int) -> Manifests:
    """
    Return one Pod that runs one .wasm or .wat file once.

    `port`: where it is asked, if it serves HTTP; to a command it means nothing.
    """
    container = {
        "name": name,
        "image": f"{FILE_SCHEME}{path.name}",
        "args": list(args),
        "ports": [{"containerPort": port}],
    }
    pod: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    _anchor(pod, path.parent)
    return Manifests((_pod(pod, path, 1),), {})


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_bytes()))
    except (OSError, yaml.YAMLError) as error:
        raise errors.BadInput(f"cannot read {path}: {error}", reason="InvalidManifest") from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise errors.BadInput(
                f"cannot read {path}: a document is not an object", reason="InvalidManifest"
            )
        listed = document.get("items") if document.get("kind") == "List" else None
        yield from listed if isinstance(listed, list) else [document]


def _anchor(document: dict[str, Any], directory: Path) -> None:
    """
    Make `file:` images relative to the manifest that names them.

    Raises:
        BadInput: there is no such file.
    """
    for each in document.get("spec", {}).get("containers", ()):
        image = str(each.get("image", ""))
        if image.startswith(FILE_SCHEME):
            path = (directory / image.removeprefix(FILE_SCHEME)).resolve()
            if not path.is_file():
                raise errors.BadInput(
                    f"cannot run image {image}: there is no file {path}", reason="NotFound"
                )
            each |= {"image": f"{FILE_SCHEME}{path}", "imagePullPolicy": "IfNotPresent"}


def _pod(document: dict[str, Any], path: Path, number: int) -> desired.DesiredPod:
    document["metadata"]["uid"] = str(uuid.uuid4())
    try:
        return parsing.pod(document)
    except (errors.BadInput, KeyError, ValueError) as error:
        raise _bad(path, number, str(error)) from error


def _bad(path: Path, number: int, what: str) -> errors.BadInput:
    return errors.BadInput(
        f"cannot use {path}, document {number}: {what}", reason="InvalidManifest"
    )
