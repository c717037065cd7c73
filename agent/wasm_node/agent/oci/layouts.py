"""
Which of the world's ways to put wasm into a registry this image uses.

Pure: documents in, a plan out - which blobs to fetch and what they are. The
letters are those of the table in docs/images.md. A way that is known but not
served is refused by name, with what to do instead. Media types only choose the
blob; what a blob is, its bytes decide (`oci.magic`).
"""

import dataclasses
from collections.abc import Sequence

from wasm_node.agent.oci.documents import (
    Descriptor,
    Entry,
    ImageConfig,
    Index,
    Manifest,
    UnusableError,
)

WASM_CONFIG = "application/vnd.wasm.config.v0+json"
WASM_LAYER = "application/wasm"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
TITLE = "org.opencontainers.image.title"

UNLABELLED_MOST_BYTES = 64 << 20
"""How much of an image labelled as Linux is fetched to see what it is."""

_B_CONFIG = "application/vnd.wasm.config.v1+json"
_B_LAYER = "application/vnd.wasm.content.layer.v1+wasm"
_G_LAYER = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_TARS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_WASM_ARCHITECTURES = ("wasm", "wasm32")
_PACK = "push the .wasm file itself with `wasm-node pack FILE.wasm --push NAME`"

_REFUSED_CONFIGS = {
    "application/vnd.module.wasm.config.v1+json": (
        "layout C (WebAssembly Hub) is a filter for Envoy (proxy-wasm), not a program"
    ),
    "application/vnd.wasmcloud.actor.archive.config": (
        f"layout E (a wasmCloud actor of wash 1) is not read: {_PACK}"
    ),
    "application/vnd.wasmcloud.provider.archive.config": (
        "layout F (a wasmCloud provider) holds native programs, not WebAssembly"
    ),
    "application/vnd.cncf.helm.config.v1+json": (
        "it is a Helm chart (layout N): install it with helm"
    ),
    "application/vnd.fermyon.spin.application.v1+config": (
        f"layout J (a Spin application) is not read: {_PACK}"
    ),
}
_REFUSED_ARTIFACTS = {
    "application/vnd.helm.plugin.v1+json": (
        "layout N (a Helm plugin) is an Extism module, not a program"
    ),
}
_REFUSED_LAYERS = {
    "application/vnd.module.wasm.content.layer.v1+wasm": (
        f"layout C or E (WebAssembly Hub, wasmCloud's wash 1) is not read: {_PACK}"
    ),
    "application/vnd.wasmcloud.provider.archive.layer.v1+par": (
        "layout F (a wasmCloud provider) holds native programs, not WebAssembly"
    ),
    "application/vnd.wasmcloud.compiled.wasm": (
        "layout O is native code that another wasmtime compiled, which is never taken "
        f"from outside: {_PACK}"
    ),
    "application/vnd.fermyon.spin.application.v1+config": (
        f"layout J (a Spin application) is not read: {_PACK}"
    ),
    _G_LAYER: f"layout G (runwasi's oci-tar-builder) is not read: {_PACK}",
}


@dataclasses.dataclass(frozen=True)
class ModulePlan:
    """An artifact: this one blob is the module."""

    layout: str
    layer: Descriptor

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The blobs to fetch."""
        return (self.layer,)


@dataclasses.dataclass(frozen=True)
class TreePlan:
    """A tar image: these blobs, one over the other, are its root."""

    layout: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


Plan = ModulePlan | TreePlan


def choose(index: Index) -> Descriptor:
    """
    Return the wasm image of an index, else the only one whatever its label.

    Raises:
        UnusableError: it offers several, none of them wasm.
    """
    images = [each for each in index.entries if not _is_attestation(each)]
    for each in images:
        if each.architecture in _WASM_ARCHITECTURES:
            return each.manifest
    if len(images) == 1:
        return images[0].manifest
    if not images:
        raise UnusableError("its index is empty")
    offered = ", ".join(str(each) for each in images[:10])
    raise UnusableError(
        f"it is built for {offered} and not for wasm: add `--platform wasi/wasm` to its "
        "build, or run the pod on a Linux node"
    )


def plan(manifest: Manifest) -> Plan:
    """
    Say which blobs of an image are needed, and what for.

    Raises:
        UnusableError: a layout that is not served; says which and what to do.
    """
    _refuse_by_name(manifest)
    kind = manifest.config.media_type
    if kind == WASM_CONFIG:
        return ModulePlan("A (CNCF wasm artifact)", _only(manifest.layers, (WASM_LAYER,), "A"))
    if kind == _B_CONFIG:
        layer = _only(manifest.layers, (_B_LAYER, WASM_LAYER), "B")
        return ModulePlan("B (wasm-to-oci)", layer)
    tars = [each for each in manifest.layers if each.media_type in _TARS]
    if kind in _IMAGE_CONFIGS and len(tars) == len(manifest.layers):
        return TreePlan("H (tar image)", manifest.config, manifest.layers)
    return ModulePlan("M (oras push)", _sniffable(manifest))


def refuse_large_stranger(config: ImageConfig, layers: Sequence[Descriptor]) -> None:
    """
    Refuse a tar image that is large and not labelled as wasm.

    Labels are often wrong, so a small one is fetched and looked at; to fetch a
    gigabyte of Linux to say that it is Linux would be a bad answer.

    Raises:
        UnusableError: too large, no label, no command that says `.wasm`.
    """
    size = sum(each.size_bytes for each in layers)
    words = (*config.entrypoint, *config.cmd)
    named = any(each.endswith((".wasm", ".wat")) for each in words)
    if config.architecture in _WASM_ARCHITECTURES or named or size <= UNLABELLED_MOST_BYTES:
        return
    raise UnusableError(
        f"it is labelled {config.os}/{config.architecture} and has {size >> 20} MiB, too much "
        "to fetch and look for wasm in it: if it is wasm, build it with `--platform wasi/wasm`; "
        "else run the pod on a Linux node"
    )


def _is_attestation(entry: Entry) -> bool:
    marks = entry.manifest.annotations
    return marks.get("vnd.docker.reference.type") == "attestation-manifest"


def _refuse_by_name(manifest: Manifest) -> None:
    said = _REFUSED_ARTIFACTS.get(manifest.artifact_type) or _REFUSED_CONFIGS.get(
        manifest.config.media_type
    )
    for each in manifest.layers:
        said = said or _REFUSED_LAYERS.get(each.media_type)
        if each.media_type.endswith("+encrypted"):
            said = said or "layout Q (an encrypted layer) is not read: push it unencrypted"
        if each.media_type.endswith("zstd"):
            said = said or "its layers are compressed with zstd: build it with gzip"
        if "nondistributable" in each.media_type or ".foreign." in each.media_type:
            said = said or "its layers may not be fetched from a registry (a Windows image?)"
    if said:
        raise UnusableError(said)
    if not manifest.layers:
        raise UnusableError("it has no layers")


def _only(layers: tuple[Descriptor, ...], types: tuple[str, ...], letter: str) -> Descriptor:
    if len(layers) == 1 and layers[0].media_type in types:
        return layers[0]
    found = ", ".join(each.media_type or "(none)" for each in layers[:5])
    raise UnusableError(
        f"layout {letter} has exactly one layer, of type {types[0]}; this one has {found}"
    )


def _sniffable(manifest: Manifest) -> Descriptor:
    """
    Return the one layer that may be a module; its bytes will tell.

    NB: oras calls a file of no given type `...layer.v1.tar`, so that says
    nothing here; a directory is `...tar+gzip`.
    """
    layers = manifest.layers
    if len(layers) > 1:
        layers = tuple(each for each in layers if _says_wasm(each))
    if len(layers) == 1 and not layers[0].media_type.endswith("gzip"):
        return layers[0]
    found = ", ".join(each.media_type or "(none)" for each in manifest.layers[:5])
    kind = manifest.artifact_type or manifest.config.media_type or "(none)"
    raise UnusableError(
        f"no layer of it can be taken for a module: its type is {kind}, its layers are "
        f"{found}; {_PACK}"
    )


def _says_wasm(layer: Descriptor) -> bool:
    return (
        layer.media_type == WASM_LAYER
        or layer.media_type.endswith("+wasm")
        or layer.annotations.get(TITLE, "").endswith((".wasm", ".wat"))
    )
