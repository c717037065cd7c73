"""
Manifests, indexes and image configs, parsed into frozen values.

What a registry sends is untrusted: everything used later is checked here once,
sizes and counts included. Pure; both Docker's and OCI's forms give the same
values, as their JSON differs in media types only.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from wasm_node.agent.model.ids import Digest

MANIFEST_MOST_BYTES = 4 << 20
CONFIG_MOST_BYTES = 4 << 20

_LAYERS_MOST = 512
_ENTRIES_MOST = 1024
_WORDS_MOST = 1000
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")


class UnusableError(Exception):
    """An image that no wasm node can use; the text says what it is."""

    def __init__(self, why: str) -> None:
        super().__init__(printable(why))


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """A blob as a manifest names it; sizes in bytes, as transferred."""

    media_type: str
    digest: Digest
    size_bytes: int
    annotations: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One image of an index, with the platform that it claims."""

    manifest: Descriptor
    os: str
    architecture: str

    def __str__(self) -> str:
        """Return `os/architecture`."""
        return f"{self.os}/{self.architecture}"


@dataclasses.dataclass(frozen=True)
class Index:
    """A choice of images."""

    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """One image or artifact."""

    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


Document: TypeAlias = Index | Manifest


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """What a tar image's config says; `env` is `NAME=VALUE`, split."""

    os: str
    architecture: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    working_dir: str


def printable(text: str) -> str:
    """Return words with a stranger's text in them, fit for an event."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown if len(shown) <= _WORDS_MOST else f"{shown[:_WORDS_MOST]}..."


def parse(content: bytes) -> Document:
    """
    Parse a manifest or an index; which of them it is, its fields say.

    Raises:
        UnusableError: it is neither, or of a form that is not used here.
    """
    raw = _object(_json(content, "manifest"), "the manifest")
    if raw.get("schemaVersion") == 1:
        raise UnusableError("its manifest is of Docker's schema 1, given up in 2019: push it again")
    if "manifests" in raw:
        return _index(raw)
    if "layers" not in raw or "config" not in raw:
        raise UnusableError("its manifest has no config and layers")
    layers = _list(raw["layers"], "layers", _LAYERS_MOST)
    return Manifest(
        artifact_type=_text(raw.get("artifactType") or "", "artifactType"),
        config=_descriptor(raw["config"], "config"),
        layers=tuple(_descriptor(each, "layers") for each in layers),
        annotations=_strings(raw.get("annotations"), "annotations"),
    )


def image_config(content: bytes) -> ImageConfig:
    """
    Parse the config of a tar image.

    Raises:
        UnusableError: it is malformed.
    """
    raw = _object(_json(content, "config"), "the config")
    run = _object(raw.get("config") or {}, "config.config")
    pairs = (each.partition("=") for each in _words(run.get("Env"), "config.Env"))
    return ImageConfig(
        os=_text(raw.get("os") or "", "os"),
        architecture=_text(raw.get("architecture") or "", "architecture"),
        entrypoint=_words(run.get("Entrypoint"), "config.Entrypoint"),
        cmd=_words(run.get("Cmd"), "config.Cmd"),
        env=tuple((name, value) for name, _, value in pairs if name),
        working_dir=_text(run.get("WorkingDir") or "", "config.WorkingDir"),
    )


def _index(raw: Mapping[str, Any]) -> Index:
    entries = []
    for each in _list(raw["manifests"], "manifests", _ENTRIES_MOST):
        platform = _object(_object(each, "manifests").get("platform") or {}, "platform")
        entries.append(
            Entry(
                manifest=_descriptor(each, "manifests"),
                os=_text(platform.get("os") or "", "platform.os"),
                architecture=_text(platform.get("architecture") or "", "platform.architecture"),
            )
        )
    return Index(tuple(entries))


def _descriptor(raw: object, where: str) -> Descriptor:
    found = _object(raw, where)
    digest, size = found.get("digest"), found.get("size")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise UnusableError(f"{where} has the digest {digest!r}: only sha256 is understood")
    if type(size) is not int or size < 0:
        raise UnusableError(f"{where} has the size {size!r}: it must be a number of bytes")
    return Descriptor(
        media_type=_text(found.get("mediaType") or "", f"{where}.mediaType"),
        digest=Digest(digest),
        size_bytes=size,
        annotations=_strings(found.get("annotations"), f"{where}.annotations"),
    )


def _json(content: bytes, what: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"its {what} is not JSON: {error}") from error


def _object(raw: object, where: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise UnusableError(f"{where} must be an object")
    return raw


def _list(raw: object, where: str, most: int) -> list[object]:
    if not isinstance(raw, list):
        raise UnusableError(f"{where} must be a list")
    if len(raw) > most:
        raise UnusableError(f"{where} has {len(raw)} items: {most} are allowed")
    return raw


def _text(raw: object, where: str) -> str:
    if not isinstance(raw, str):
        raise UnusableError(f"{where} must be a string")
    return raw


def _words(raw: object, where: str) -> tuple[str, ...]:
    return tuple(_text(each, where) for each in _list(raw or [], where, 10_000))


def _strings(raw: object, where: str) -> Mapping[str, str]:
    return {name: _text(value, where) for name, value in _object(raw or {}, where).items()}
