"""
The test bed's programs, built from Go modules and kept in the cache.

There is no container registry to pull them from. Each folder of `programs/`
is a Go module whose go.mod and go.sum pin every source; the cache knows a
binary by the hash of these, the Go version and the flags. The first build of
the control plane takes a quarter of an hour, every later one a look. There are
two of them: the newest Kubernetes, and the oldest that is supported.
"""

import functools
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from e2e.cluster import cache, golang

_PROGRAMS = Path(__file__).parent / "programs"
_CONTROL_PLANE = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)
_OF_HOSTS = ("kube-proxy", "kubelet")
_OLDEST = "oldest"  # the .mod file, the build tag and the cache's word for it
_ENV = {"CGO_ENABLED": "0"}
_KWOK = "sigs.k8s.io/kwok"
_KWOK_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)


def program(name: str, *, oldest: bool = False) -> Path:
    """
    Give a program of the control plane, or kubectl, by its usual name.

    The newest comes from `KUBEBUILDER_ASSETS` if that is set and has it, else
    from the cache, where it is built first if need be.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not oldest and assets and (given := Path(assets).absolute() / name).is_file():
        return given
    folder = _control_plane(_OLDEST if oldest else "")
    return folder / "path/kubectl" if name == "kubectl" else folder / name


def kube() -> Path:
    """Give the one program that is all of the control plane, by its name."""
    return _control_plane("") / "kube"


def build() -> None:
    """Build what the tests need, if it is not in the cache yet."""
    for name in (*_CONTROL_PLANE, "kubectl"):
        program(name)
    registry()
    helm()


@functools.cache
def registry() -> Path:
    """Give the CNCF distribution registry's program."""
    return _built("registry", ".", about="the registry: up to a minute") / "registry"


@functools.cache
def kwok() -> tuple[Path, Path]:
    """Give kwok's program and a file of its own stages for pods and nodes."""

    def add_stages(folder: Path) -> None:
        stages = _sources(_KWOK, "kwok") / "kustomize/stage"
        texts = ((stages / name).read_text() for name in _KWOK_STAGES)
        (folder / "stages.yaml").write_text("\n---\n".join(texts))

    package = f"{_KWOK}/cmd/kwok"
    folder = _built("kwok", package, about="kwok: up to three minutes", finish=add_stages)
    return folder / "kwok", folder / "stages.yaml"


@functools.cache
def helm() -> Path:
    """Give a folder with `helm` alone in it, fit to be put before a PATH."""
    return _built("helm", "helm.sh/helm/v3/cmd/helm", about="helm: up to three minutes")


def operator_crds() -> list[Path]:
    """Give the Prometheus operator's definitions of what the chart makes."""
    sources = _sources("github.com/prometheus-operator/prometheus-operator", "prometheus-operator")
    folder = sources / "example/prometheus-operator-crd"
    kinds = ("podmonitors", "prometheusrules")
    return [folder / f"monitoring.coreos.com_{kind}.yaml" for kind in kinds]


@functools.cache
def containerd() -> Path:
    """Give a folder with containerd, its shim for runc, and ctr."""
    commands = "github.com/containerd/containerd/v2/cmd"
    return _built(
        "containerd",
        *(f"{commands}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
        about="containerd: up to seven minutes",
    )


@functools.cache
def kind() -> Path:
    """Give a folder with `kind` and `kubeadm` in it."""
    return _built(
        "kind",
        "sigs.k8s.io/kind",
        "k8s.io/kubernetes/cmd/kubeadm",
        ldflags=_kubernetes(),
        about="kind and kubeadm: up to seven minutes",
    )


def kind_sources() -> Path:
    """Give the sources of that kind, with what its node image is made of."""
    return _sources("sigs.k8s.io/kind", "kind")


def kubernetes(*, oldest: bool = False) -> str:
    """Give the version of the control plane, such as `v1.37.2`."""
    module = (_PROGRAMS / f"kube/{_OLDEST if oldest else 'go'}.mod").read_text()
    pinned = re.search(r"k8s\.io/kubernetes (v\S+)", module)
    assert pinned is not None
    return pinned[1]


@functools.cache
def httpload() -> Path:
    """Give the benchmark's client of HTTP servers."""
    return _built("httpload", ".", about="the HTTP client: seconds") / "httpload"


@functools.cache
def h2spec() -> Path:
    """Give a client that tries how well a server knows HTTP/2."""
    package = "github.com/summerwind/h2spec/cmd/h2spec"
    return _built("h2spec", package, about="h2spec: seconds") / "h2spec"


@functools.cache
def pause() -> Path:
    """Give the program of a pod's sandbox, for an image of nothing else."""
    return _built("pause", ".", about="the pause program: seconds") / "pause"


@functools.cache
def guest() -> tuple[Path, Path]:
    """Give a program that does what it is told: for Linux, and as wasm."""
    about = "the guest of two nodes: seconds"
    native = _built("guest", ".", about=about) / "guest"
    wasm = _built("guest", ".", about=about, env={"GOOS": "wasip1", "GOARCH": "wasm"}) / "guest"
    return native, wasm


@functools.cache
def _control_plane(variant: str) -> Path:
    names = [name for name in _CONTROL_PLANE if not (variant and name in _OF_HOSTS)]

    def link(folder: Path) -> None:
        for name in names:
            (folder / name).symlink_to("kube")
        (folder / "path").mkdir()  # kubectl alone, fit to be put in front of a PATH
        (folder / "path/kubectl").symlink_to("../kube")

    return _built(
        "kube",
        ".",
        ldflags=_kubernetes(oldest=bool(variant)),
        about=f"the {variant or 'newest'} control plane: up to 15 minutes on two cores",
        finish=link,
        variant=variant,
    )


def _kubernetes(*, oldest: bool = False) -> list[str]:
    """Give the linker's words that tell a program its version."""
    release = kubernetes(oldest=oldest)
    major, minor, _ = release.removeprefix("v").split(".")
    version = "k8s.io/component-base/version"
    values = {"gitVersion": release, "gitMajor": major, "gitMinor": minor}
    return [f"-X {version}.{name}={value}" for name, value in values.items()]


def _sources(module: str, name: str) -> Path:
    """Give the directory of a module that a folder of `programs/` pins."""
    words = ["mod", "download", "-json", module]
    said = golang.run(words, directory=_PROGRAMS / name, env=_ENV)
    return Path(json.loads(said)["Dir"])


def _built(
    name: str,
    *packages: str,
    about: str,
    ldflags: Sequence[str] = (),
    finish: Callable[[Path], None] = lambda _: None,
    variant: str = "",
    env: Mapping[str, str] = _ENV,
) -> Path:
    """Build a folder of `programs/`; a variant has its own .mod and tag."""
    module = _PROGRAMS / name
    words = ["build", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s", "-w", *ldflags])]
    if variant:
        words += [f"-modfile={variant}.mod", f"-tags={variant}"]
        name = f"{name}-{variant}"

    def make(folder: Path) -> None:
        print(f"building {about}, the first time", file=sys.stderr)
        began = time.monotonic()
        golang.run([*words, "-o", f"{folder}/", *packages], directory=module, env=env)
        finish(folder)
        print(f"built {name} in {time.monotonic() - began:.0f} s", file=sys.stderr)

    digest = hashlib.sha256(repr((golang.version(), words, " ".join(packages), env)).encode())
    for source in sorted([*module.glob(f"{variant or 'go'}.*"), *module.glob("*.go")]):
        digest.update(source.read_bytes())
    return cache.entry(f"bin/{name}-{digest.hexdigest()[:16]}", make)
