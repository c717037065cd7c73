"""
OCI images made by hand and pushed over plain HTTP.

Tests need images as the world's tools make them, whatever wasm-node's own
`pack` does: each layout of docs/images.md that is served, wrong labels, and
programs that are not wasm. Nothing here is read by the product.
"""

import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
_TAR = "application/vnd.oci.image.layer.v1.tar"
_EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
_ARTIFACTS = {
    "A": ("application/vnd.wasm.config.v0+json", "application/wasm"),
    "B": (
        "application/vnd.wasm.config.v1+json",
        "application/vnd.wasm.content.layer.v1+wasm",
    ),
    "M": (_EMPTY_CONFIG, "application/octet-stream"),
}


@dataclass(frozen=True)
class Pushed:
    """
    An image in a registry.

    Attributes:
        reference: its name with a tag, as in a manifest.
        digest: of its manifest.
        layer: digest of its one layer.
    """

    reference: str
    digest: str
    layer: str


def push_artifact(
    registry: str, name: str, module: bytes, *, layout: str = "A", tag: str = "v1"
) -> Pushed:
    """Push a module as an artifact of layout A, B or M; see docs/images.md."""
    config_type, layer_type = _ARTIFACTS[layout]
    config: dict[str, object] = {}
    if layout == "A":
        config = {"architecture": "wasm", "os": "wasip1", "layerDigests": [_digest(module)]}
    return _push(registry, name, tag, (config_type, config), (layer_type, module))


def push_tar_image(
    registry: str,
    name: str,
    files: Mapping[str, bytes],
    entrypoint: Sequence[str],
    *,
    platform: str = "wasi/wasm",
    tag: str = "v1",
) -> Pushed:
    """Push a tar image of one layer (layout H), labelled `platform`."""
    layer = _tar(files)
    system, architecture = platform.split("/")
    config = {
        "os": system,
        "architecture": architecture,
        "config": {"Entrypoint": list(entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    return _push(registry, name, tag, (_IMAGE_CONFIG, config), (_TAR, layer))


def push_layout(
    registry: str, name: str, layout: Path, *, tag: str, more: Mapping[str, bytes] | None = None
) -> None:
    """Push the one image of an OCI layout directory, a layer `more` on top."""
    client = _Client(registry, name)

    def blob(descriptor: Mapping[str, str]) -> bytes:
        algorithm, _, value = descriptor["digest"].partition(":")
        return (layout / "blobs" / algorithm / value).read_bytes()

    (listed,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(listed))
    config = json.loads(blob(manifest["config"]))
    for each in manifest["layers"]:
        client.push_blob(each["mediaType"], blob(each))
    if more is not None:
        layer = _tar(more)
        config["rootfs"]["diff_ids"].append(_digest(layer))
        manifest["layers"].append(client.push_blob(_TAR, layer))
    manifest["config"] = client.push_blob(_IMAGE_CONFIG, json.dumps(config).encode())
    client.put(f"manifests/{tag}", json.dumps(manifest).encode(), listed["mediaType"])


def _push(
    registry: str, name: str, tag: str, config: tuple[str, object], layer: tuple[str, bytes]
) -> Pushed:
    client = _Client(registry, name)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": client.push_blob(config[0], json.dumps(config[1]).encode()),
        "layers": [client.push_blob(*layer)],
    }
    if config[0] == _EMPTY_CONFIG:  # only an artifactType says what it is
        manifest["artifactType"] = "application/vnd.unknown.artifact.v1"
    content = json.dumps(manifest).encode()
    client.put(f"manifests/{tag}", content, _MANIFEST)
    return Pushed(f"{registry}/{name}:{tag}", _digest(content), _digest(layer[1]))


def _tar(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


class _Client:
    def __init__(self, registry: str, name: str) -> None:
        self._registry = registry
        self._name = name

    def push_blob(self, media_type: str, content: bytes) -> dict[str, Any]:
        digest = _digest(content)
        location = self._call("POST", f"/v2/{self._name}/blobs/uploads/", b"")
        self._call("PUT", f"{location}&digest={digest}", content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def put(self, path: str, content: bytes, media_type: str) -> None:
        self._call("PUT", f"/v2/{self._name}/{path}", content, media_type)

    def _call(
        self,
        method: str,
        url: str,
        content: bytes,
        media_type: str = "application/octet-stream",
    ) -> str:
        """Do one request and return where the answer points to."""
        connection = http.client.HTTPConnection(self._registry, timeout=30)
        try:
            connection.request(method, url, content, {"Content-Type": media_type})
            answer = connection.getresponse()
            said = answer.read().decode()
        finally:
            connection.close()
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
            raise OSError(f"cannot {method} {url}: {answer.status} {said}")
        return answer.headers["Location"] or ""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
