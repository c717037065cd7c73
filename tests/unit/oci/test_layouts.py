"""Layouts are told apart by their documents; what is not served is named."""

import json
from typing import Any

import pytest

from wasm_node.agent.oci import documents, layouts
from wasm_node.agent.oci.documents import UnusableError

A_CONFIG = "application/vnd.wasm.config.v0+json"
B_CONFIG = "application/vnd.wasm.config.v1+json"
B_LAYER = "application/vnd.wasm.content.layer.v1+wasm"
C_CONFIG = "application/vnd.module.wasm.config.v1+json"
E_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
G_LAYER = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
EMPTY = "application/vnd.oci.empty.v1+json"
OCI = "application/vnd.oci.image.config.v1+json"
DOCKER = "application/vnd.docker.container.image.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_TAR = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WASM = "application/wasm"
SPIN = "application/vnd.fermyon.spin.application.v1+config"
F_LAYER = "application/vnd.wasmcloud.provider.archive.layer.v1+par"


def descriptor(kind: str, title: str = "", size: int = 8) -> dict[str, Any]:
    """Return a descriptor of nothing in particular."""
    marks = {"annotations": {"org.opencontainers.image.title": title}} if title else {}
    return {"mediaType": kind, "digest": f"sha256:{'0' * 64}", "size": size} | marks


def plan(config: str, *layers: str | dict[str, Any], artifact: str = "") -> layouts.Plan:
    """Plan a manifest of these types."""
    found = documents.parse(
        json.dumps(
            {
                "schemaVersion": 2,
                "artifactType": artifact,
                "config": descriptor(config),
                "layers": [descriptor(x) if isinstance(x, str) else x for x in layers],
            }
        ).encode()
    )
    assert isinstance(found, documents.Manifest)
    return layouts.plan(found)


@pytest.mark.parametrize(
    ("config", "layer", "letter"),
    [
        (A_CONFIG, WASM, "A"),
        (B_CONFIG, B_LAYER, "B"),
        (B_CONFIG, WASM, "B"),
        (EMPTY, "application/octet-stream", "M"),
        (EMPTY, "", "M"),
        (EMPTY, TAR, "M"),
        ("application/vnd.unknown.config.v1+json", WASM, "M"),
        (OCI, WASM, "M"),
    ],
)
def test_artifacts(config: str, layer: str, letter: str) -> None:
    """An artifact's one layer is the module."""
    made = plan(config, layer)

    assert isinstance(made, layouts.ModulePlan)
    assert made.layout.startswith(f"{letter} (")
    assert made.layer.media_type == layer


@pytest.mark.parametrize(
    ("config", "layer"), [(OCI, TAR), (OCI, f"{TAR}+gzip"), (DOCKER, DOCKER_TAR)]
)
def test_tar_images(config: str, layer: str) -> None:
    """An image config over tar layers is a tree, in the layers' order."""
    made = plan(config, descriptor(layer, size=1), descriptor(layer, size=2))

    assert isinstance(made, layouts.TreePlan)
    assert made.layout == "H (tar image)"
    assert [each.size_bytes for each in made.layers] == [1, 2]


def test_the_layer_that_says_wasm() -> None:
    """Of several layers of no known type, the one named .wasm is taken."""
    made = plan(
        EMPTY,
        descriptor("application/octet-stream", "README.md"),
        descriptor("application/octet-stream", "app.wasm", size=9),
    )

    assert isinstance(made, layouts.ModulePlan)
    assert made.layer.size_bytes == 9


@pytest.mark.parametrize(
    ("config", "layers", "artifact", "says"),
    [
        (A_CONFIG, [WASM, WASM], "", "layout A has exactly one layer"),
        (A_CONFIG, [TAR], "", "layout A has exactly one layer"),
        (B_CONFIG, [TAR], "", "layout B has exactly one layer"),
        (C_CONFIG, [E_LAYER, C_CONFIG], "", "layout C .*proxy-wasm"),
        (EMPTY, [E_LAYER], "", "layout C or E"),
        ("application/vnd.wasmcloud.actor.archive.config", [E_LAYER], "", "layout E"),
        ("application/vnd.wasmcloud.provider.archive.config", [F_LAYER], "", "layout F"),
        (EMPTY, [F_LAYER], "", "layout F .*native"),
        (OCI, [G_LAYER], "", "layout G .*wasm-node pack"),
        (OCI, [B_LAYER, SPIN], "", "layout J .*wasm-node pack"),
        (SPIN, [B_LAYER], "", "layout J"),
        (EMPTY, [f"{TAR}+gzip"], "application/vnd.helm.plugin.v1+json", "layout N"),
        ("application/vnd.cncf.helm.config.v1+json", [f"{TAR}+gzip"], "", "Helm chart"),
        (EMPTY, ["application/vnd.wasmcloud.compiled.wasm"], "", "layout O is native"),
        (B_CONFIG, [f"{B_LAYER}+encrypted"], "", "layout Q"),
        (OCI, [f"{TAR}+zstd"], "", "zstd"),
        (DOCKER, ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"], "", "Windows"),
        (EMPTY, [f"{TAR}+gzip"], "", "no layer of it can be taken for a module"),
        (EMPTY, ["application/x-a", "application/x-b"], "", "layers are application/x-a, app"),
        (OCI, [TAR, WASM, WASM], "", "no layer of it can be taken"),
        (OCI, [], "", "it has no layers"),
    ],
)
def test_what_is_not_served(config: str, layers: list[str], artifact: str, says: str) -> None:
    """Each known layout that is not served is refused by its name."""
    with pytest.raises(UnusableError, match=says):
        plan(config, *layers, artifact=artifact)


def index(*platforms: str, attested: bool = False) -> documents.Index:
    """Return an index whose entries have their number as size."""
    entries = [
        descriptor(layouts.MANIFEST, size=number)
        | {"platform": dict(zip(("os", "architecture"), each.split("/"), strict=True))}
        for number, each in enumerate(platforms)
    ]
    if attested:
        mark = {"vnd.docker.reference.type": "attestation-manifest"}
        entries.append(descriptor(layouts.MANIFEST) | {"annotations": mark})
    found = documents.parse(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    assert isinstance(found, documents.Index)
    return found


@pytest.mark.parametrize(
    ("platforms", "chosen"),
    [
        (["linux/amd64", "wasi/wasm"], 1),
        (["linux/amd64", "wasip1/wasm", "wasip2/wasm"], 1),
        (["linux/amd64", "wasi/wasm32"], 1),
        (["linux/amd64"], 0),
    ],
)
def test_choice_of_an_index(platforms: list[str], chosen: int) -> None:
    """The first wasm entry is taken, else the only one, whatever it says."""
    assert layouts.choose(index(*platforms, attested=True)).size_bytes == chosen


def test_index_without_wasm() -> None:
    """Several entries and none wasm: refused at once, with what there is."""
    with pytest.raises(UnusableError, match=r"for linux/amd64, linux/arm64 and not for wasm"):
        layouts.choose(index("linux/amd64", "linux/arm64"))
    with pytest.raises(UnusableError, match=r"its index is empty"):
        layouts.choose(index(attested=True))


@pytest.mark.parametrize(
    ("architecture", "cmd", "mebibytes", "fetched"),
    [
        ("amd64", ["/bin/sh"], 3, True),
        ("amd64", ["/bin/sh"], 300, False),
        ("amd64", ["/app.wasm"], 300, True),
        ("wasm", ["/app"], 300, True),
    ],
)
def test_large_images_of_another_label(
    architecture: str, cmd: list[str], mebibytes: int, fetched: bool
) -> None:
    """A label alone refuses no image, a label and its size do."""
    raw = {"os": "linux", "architecture": architecture, "config": {"Cmd": cmd}}
    config = documents.image_config(json.dumps(raw).encode())
    made = plan(OCI, descriptor(TAR, size=mebibytes << 20))
    if fetched:
        layouts.refuse_large_stranger(config, made.layers)
        return
    with pytest.raises(UnusableError, match=r"labelled linux/amd64 and has 300 MiB"):
        layouts.refuse_large_stranger(config, made.layers)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "its manifest is not JSON"),
        (b"[" * 100_000, "its manifest is not JSON"),
        (b"[]", "the manifest must be an object"),
        (b"{}", "its manifest has no config and layers"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "Docker's schema 1"),
        (b'{"config": {}, "layers": []}', "config has the digest None"),
        (b'{"config": 1, "layers": []}', "config must be an object"),
        (b'{"config": {"digest": "sha512:00", "size": 1}, "layers": []}', "only sha256"),
        (b'{"config": {}, "layers": {}}', "layers must be a list"),
        (b'{"manifests": [%s]}' % b",".join([b"1"] * 2000), "manifests has 2000 items"),
        (b'{"manifests": [1]}', "manifests must be an object"),
    ],
)
def test_malformed_documents(content: bytes, says: str) -> None:
    """What is no manifest is refused with the field that is wrong."""
    with pytest.raises(UnusableError) as caught:
        documents.parse(content)

    assert says in str(caught.value)


@pytest.mark.parametrize("size", [-1, 1.5, True, "8", None])
def test_sizes_are_numbers(size: object) -> None:
    """A size that is no count of bytes is refused."""
    raw = {"config": descriptor(EMPTY) | {"size": size}, "layers": []}
    with pytest.raises(UnusableError, match="must be a number of bytes"):
        documents.parse(json.dumps(raw).encode())


def test_words_of_strangers_are_tamed() -> None:
    """No control character and no megabyte of a stranger gets into an event."""
    with pytest.raises(UnusableError) as caught:
        plan(EMPTY, "\x1b[2J" + "x" * 5000, "y")

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100
