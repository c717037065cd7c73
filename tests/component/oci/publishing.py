"""
Putting images into a registry as the world's tools do, byte by byte.

Builds each layout's documents and uploads them by plain HTTP, so that the
tests of pulling depend on no pushing tool and can push what none would.
"""

import dataclasses
import gzip
import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
TAR_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
MODULE = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"


@dataclasses.dataclass(frozen=True)
class Image:
    """Documents and blobs, ready to be pushed or served."""

    manifest: bytes
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Digest of the manifest."""
        return digest(self.manifest)


def digest(content: bytes) -> str:
    """Return `sha256:HEX`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image(
    layers: Sequence[tuple[str, bytes]],
    *,
    config_type: str,
    config: bytes = b"{}",
    artifact_type: str | None = None,
) -> Image:
    """Return an image of any layout: layers as (media type, content)."""
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config_type, config),
        "layers": [descriptor(kind, content) for kind, content in layers],
    }
    if artifact_type is not None:
        manifest["artifactType"] = artifact_type
    blobs = {digest(each): each for each in (config, *(content for _, content in layers))}
    return Image(json.dumps(manifest).encode(), blobs)


def artifact(wasm: bytes) -> Image:
    """Return layout A."""
    return image([("application/wasm", wasm)], config_type="application/vnd.wasm.config.v0+json")


def tree(
    *layers: bytes,
    entrypoint: Sequence[str] = (),
    cmd: Sequence[str] = (),
    env: Sequence[str] = (),
    working_dir: str = "",
    platform: str = "wasi/wasm",
) -> Image:
    """Return layout H of gzipped tar layers."""
    os, _, architecture = platform.partition("/")
    run = {"Entrypoint": list(entrypoint), "Cmd": list(cmd), "Env": list(env)}
    config = {
        "os": os,
        "architecture": architecture,
        "config": {**run, "WorkingDir": working_dir},
    }
    return image(
        [(TAR_GZIP, each) for each in layers],
        config_type=IMAGE_CONFIG,
        config=json.dumps(config).encode(),
    )


def index(*choices: tuple[str, Image]) -> bytes:
    """Return an index of images by platform `os/architecture`."""
    entries = []
    for platform, each in choices:
        os, _, architecture = platform.partition("/")
        entry = descriptor(MANIFEST, each.manifest)
        entries.append(entry | {"platform": {"os": os, "architecture": architecture}})
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """Return a descriptor of a blob."""
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


def tar(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """Return a gzipped tar of files (name, content) and other members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each, io.BytesIO(bytes(each.size)))
            else:
                member = tarfile.TarInfo(each[0])
                member.size = len(each[1])
                archive.addfile(member, io.BytesIO(each[1]))
    return gzip.compress(made.getvalue(), mtime=0)


def member(name: str, kind: bytes, *, target: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    """Return a member that is no regular file: `tarfile.SYMTYPE` and so on."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, target, mode
    return made


def push(address: str, repository: str, tag: str, pushed: Image) -> None:
    """Upload an image and tag it."""
    for content in pushed.blobs.values():
        _push_blob(address, repository, content)
    put_manifest(address, repository, tag, MANIFEST, pushed.manifest)


def put_manifest(address: str, repository: str, tag: str, media_type: str, content: bytes) -> None:
    """Upload a manifest or an index whose parts are there."""
    path = f"/v2/{repository}/manifests/{tag}"
    _ask(address, "PUT", path, content, {"Content-Type": media_type})


def _push_blob(address: str, repository: str, content: bytes) -> None:
    location = _ask(address, "POST", f"/v2/{repository}/blobs/uploads/", b"", {})
    path = location.partition(address)[2]
    joint = "&" if "?" in path else "?"
    kind = {"Content-Type": "application/octet-stream"}
    _ask(address, "PUT", f"{path}{joint}digest={digest(content)}", content, kind)


def _ask(address: str, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> str:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in {201, 202}, f"{method} {path}: {answer.status} {said!r}"
        return answer.getheader("Location", "")
    finally:
        connection.close()
