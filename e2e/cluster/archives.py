"""
Archives of container images, as `docker save` writes them.

Whoever loads images without a registry reads these: docker, containerd, kind.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import golang


@dataclass(frozen=True)
class Image:
    """
    An image of an archive.

    Attributes:
        names: with their tags.
        layers: tars of files, each named differently.
        config: of its containers: `Entrypoint`, `Env`, ...
    """

    names: Sequence[str]
    layers: Sequence[Path]
    config: Mapping[str, Sequence[str]]


def write(file: Path, images: Sequence[Image]) -> None:
    """Write an archive of images for this machine; they may share layers."""
    manifest = []
    with tarfile.open(file, "w") as archive:
        for layer in dict.fromkeys(layer for each in images for layer in each.layers):
            archive.add(layer, layer.name)
        for number, each in enumerate(images):
            name = f"{number}.json"
            _add(archive, name, _config(each))
            layers = [layer.name for layer in each.layers]
            manifest.append({"Config": name, "RepoTags": list(each.names), "Layers": layers})
        _add(archive, "manifest.json", manifest)


def _add(archive: tarfile.TarFile, name: str, content: object) -> None:
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _config(image: Image) -> dict[str, object]:
    digests = []
    for layer in image.layers:
        with layer.open("rb") as content:
            digests.append(f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}")
    return {
        "os": "linux",
        "architecture": golang.run(["env", "GOARCH"], directory=Path("/"), env={}).strip(),
        "config": dict(image.config),
        "rootfs": {"type": "layers", "diff_ids": digests},
    }
