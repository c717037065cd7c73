"""
Making layout A of a .wasm file: `wasm-node pack`.

The documents are pure functions of the file, with no time in them, so the same
file packed twice has the same digest. They are pushed by oras, which is safe
for that, or saved as an OCI image layout that other tools can copy.
"""

import dataclasses
import functools
import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from wasm_node.agent import errors
from wasm_node.agent.model.image import Kind
from wasm_node.agent.oci import layouts, magic, wasm_header
from wasm_node.agent.oci.reference import Reference

_TIMEOUTS_S = (10.0, 120.0)
"""To connect, and between two pieces of an answer."""
_TAKEN = (200, 201, 202)


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A packed module, all its documents made."""

    module: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return _digest(self.manifest)


def pack(module: bytes, name: str) -> Artifact:
    """
    Make layout A of a module or component.

    Args:
        module: the file's content.
        name: the file's name, for tools that unpack.

    Raises:
        BadInput: it is not binary WebAssembly; says how to make it so.
    """
    kind = magic.kind(module)
    if kind is Kind.TEXT:
        raise errors.BadInput(
            f"cannot pack {name}: it is WebAssembly text; make it binary first, with "
            f"`wasm-tools parse {name} -o {Path(name).stem}.wasm`",
            reason="NotWasm",
        )
    if kind is None:
        raise errors.BadInput(
            f"cannot pack {name}: it is {magic.describe(module)}, not WebAssembly",
            reason="NotWasm",
        )
    config = _json(_config(module, kind))
    layer = _descriptor(layouts.WASM_LAYER, module)
    manifest = {
        "schemaVersion": 2,
        "mediaType": layouts.MANIFEST,
        "config": _descriptor(layouts.WASM_CONFIG, config),
        "layers": [layer | {"annotations": {layouts.TITLE: name}}],
    }
    return Artifact(module, config, _json(manifest))


def save(artifact: Artifact, to: Path) -> None:
    """Write an OCI image layout, tagged `latest`, as a tar file."""
    entry = _descriptor(layouts.MANIFEST, artifact.manifest)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "mediaType": layouts.INDEX, "manifests": [entry]}),
    }
    for content in (artifact.config, artifact.module, artifact.manifest):
        files[f"blobs/{_digest(content).replace(':', '/')}"] = content
    with tarfile.open(to, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))


def push(artifact: Artifact, to: Reference, *, plain_http: bool = False) -> None:
    """
    Push to a registry under a tag, over HTTPS.

    `plain_http`: it talks no TLS; one on loopback is never asked for that.

    Raises:
        BadInput: the reference has a digest.
        Retryable: the registry did not take it.
    """
    import oras.client  # costs 0.3 s, and only `pack --push` pays it
    import requests

    if to.digest is not None:
        raise errors.BadInput(
            f"cannot push to {to.text}: name a tag, not a digest", reason="InvalidImageName"
        )
    client = oras.client.OrasClient(insecure=plain_http or to.loopback)
    client.session.request = functools.partial(client.session.request, timeout=_TIMEOUTS_S)
    # NB: its own retries sleep 50 s before a person hears that nobody is there.
    once = type(client).do_request.__wrapped__
    client.do_request = functools.partial(once, client)
    container = client.get_container(f"{to.host}/{to.path}:{to.tag}")
    try:
        with tempfile.TemporaryDirectory() as directory:
            for content in (artifact.module, artifact.config):
                blob = Path(directory) / "blob"
                blob.write_bytes(content)
                _check(client.upload_blob(str(blob), container, _descriptor("", content)))
        _check(
            client.do_request(
                f"{client.prefix}://{container.manifest_url()}",
                "PUT",
                data=artifact.manifest,
                headers={"Content-Type": layouts.MANIFEST},
            )
        )
    except (requests.RequestException, ValueError) as error:
        raise errors.Retryable(f"cannot push {to.text}: {error}", reason="PushFailed") from error


def _check(response: Any) -> None:
    if response.status_code not in _TAKEN:
        raise ValueError(f"{response.url} answered {response.status_code} {response.text[:300]}")


def _config(module: bytes, kind: Kind) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architecture": "wasm",
        "os": "wasip2" if kind is Kind.COMPONENT else "wasip1",
        "layerDigests": [_digest(module)],
    }
    if kind is Kind.COMPONENT:
        seen = wasm_header.interface(module)
        config["component"] = {
            "exports": list(seen.exports),
            "imports": [name for name, _ in seen.imports],
        }
    return config


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
