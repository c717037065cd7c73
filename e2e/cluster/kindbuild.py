"""
A node image of kind, built of Debian packages and Go modules.

It is made as kind's own Dockerfile makes the official one: kind's files and
units on a Debian with systemd, containerd, kubelet and kubeadm, and the images
that kubeadm asks for, which are one image with the control plane's one
program. What differs is said where it is set.
"""

import hashlib
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster import archives, binaries, cache, debian, processes

NAME = "localhost/kind-node:built-here"
"""What `docker load` calls it."""

_NODE = Path(__file__).parent / "kindnode"
_PACKAGES = (
    "bash",
    "ca-certificates",
    "conntrack",
    "containernetworking-plugins",
    "curl",
    "dbus",
    "ethtool",
    "iproute2",
    "iptables",
    "jq",
    "kmod",
    "mount",
    "nftables",
    "procps",
    "runc",
    "systemd",
    "util-linux",
)
_IN_IMAGES = ("iproute2", "nftables")  # kube-proxy and kindnetd call their programs
_UNITS = ("containerd", "kubelet", "undo-mount-hacks")
_MASKED = ("systemd-binfmt.service", "systemd-tmpfiles-setup.service", "getty.target")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMPORT = """\
containerd &
until ctr version; do sleep 0.1; done
ctr --namespace=k8s.io images import --no-unpack /kind/images.tar
kill $!
wait
rm -r /kind/images.tar /run/containerd
"""


def build() -> Path:
    """
    Give the node image `NAME` as an archive.

    Raises:
        Failed: it cannot be built; the text has the builder's last words.
    """
    made_of = [repr((_PACKAGES, _IN_IMAGES, debian.tree())), str(binaries.kube())]
    made_of += [str(binaries.containerd()), str(binaries.kind()), str(binaries.pause())]
    sources = [Path(__file__), Path(archives.__file__), *sorted(_NODE.iterdir())]
    digest = hashlib.sha256("".join(made_of + [each.read_text() for each in sources]).encode())
    folder = cache.entry(f"kind/node-{digest.hexdigest()[:16]}", _build)
    return folder / "node.tar"


def _build(folder: Path) -> None:
    print("building kind's node image: two minutes", file=sys.stderr)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        files, layer = Path(directory) / "files", Path(directory) / "root.tar"
        _lay_out(files)
        hooks = [f"sync-in {files} /", f"chroot \"$1\" sh -exc '{_IMPORT}'"]
        debian.root(_PACKAGES, layer, *(f"--customize-hook={each}" for each in hooks))
        init = ["/usr/local/bin/entrypoint", "/sbin/init"]
        config = {"Entrypoint": init, "Env": [_PATH, "container=docker"]}
        archives.write(folder / "node.tar", [archives.Image([NAME], [layer], config)])
    print(f"built kind's node image in {time.monotonic() - began:.0f} s", file=sys.stderr)


def _lay_out(files: Path) -> None:
    """Write what lies on top of the packages."""
    sources = binaries.kind_sources()
    names = _image_names()
    shutil.copytree(sources / "images/base/files", files)
    for each in files.rglob("*"):  # a module's files are read-only, and no programs
        each.chmod(0o755 if each.is_dir() or each.read_bytes()[:2] == b"#!" else 0o644)
    shutil.copytree(binaries.containerd(), files / "usr/local/bin", dirs_exist_ok=True)
    (files / "usr/bin").mkdir()
    shutil.copy(binaries.kube(), files / "usr/bin/kube")
    shutil.copy(binaries.kind() / "kubeadm", files / "usr/bin/kubeadm")
    links = {
        "opt/cni/bin": "/usr/lib/cni",
        "usr/sbin/init": "/usr/lib/systemd/systemd",
        "usr/bin/kubectl": "kube",
        "usr/bin/kubelet": "kube",
        **{f"etc/systemd/system/{each}": "/dev/null" for each in _MASKED},
        **{
            f"etc/systemd/system/multi-user.target.wants/{each}.service": f"../{each}.service"
            for each in _UNITS
        },
    }
    for name, target in links.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).symlink_to(target)
    texts = {
        "etc/containerd/config.toml": _containerd(files / "etc/containerd/config.toml", names),
        "kind/version": binaries.kubernetes(),
        "kind/manifests/default-cni.yaml": _cni_manifest(sources),
    }
    for name, text in texts.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(text)
    _write_images(files / "kind/images.tar", names, sources)


def _containerd(file: Path, names: Sequence[str]) -> str:
    """Give kind's configuration of containerd, but for two things."""
    (pause,) = (name for name in names if "/pause:" in name)
    text = file.read_text()
    for pattern, instead in {
        r" *base_runtime_spec = .*\n": "",  # fakes files of hardware that few machines show
        r'sandbox_image = ".*"': f'sandbox_image = "{pause}"',
    }.items():
        text, count = re.subn(pattern, instead, text)
        if not count:
            raise processes.Failed(f"cannot build kind's node image: no {pattern} in {file}")
    return text


def _cni_manifest(sources: Path) -> str:
    """Give the objects that bring kindnetd to every node."""
    text = (sources / "pkg/build/nodeimage/const_cni.go").read_text()
    (manifest,) = re.findall(r"const defaultCNIManifest = (`.*`)", text, re.DOTALL)
    return str(manifest).replace("` + kindnetdImage + `", _kindnetd(sources)).strip("`")


def _kindnetd(sources: Path) -> str:
    """Give the name of kindnetd's image."""
    text = (sources / "pkg/build/nodeimage/const_cni.go").read_text()
    (name,) = re.findall(r'const kindnetdImage = "(.*)"', text)
    return str(name)


def _image_names() -> list[str]:
    """List the images that kubeadm needs on a node, with their tags."""
    words = ["config", "images", "list", f"--kubernetes-version={binaries.kubernetes()}"]
    return processes.printed_by([binaries.kind() / "kubeadm", *words], {}).split()


def _write_images(file: Path, names: Sequence[str], sources: Path) -> None:
    """Write all images that a cluster of kind has, but for coredns."""
    pause = [name for name in names if "/pause:" in name]
    kube = [name for name in names if name not in pause and "coredns" not in name]
    with tempfile.TemporaryDirectory() as directory:
        names_of_layers = ("tools.tar", "kube.tar", "pause.tar")
        tools, program, sandbox = (Path(directory) / each for each in names_of_layers)
        debian.root(_IN_IMAGES, tools)
        with tarfile.open(program, "w") as layer:
            layer.add(binaries.kube(), "usr/local/bin/kube")
            layer.add(_NODE / "kindnetd", "usr/local/bin/kindnetd")
            for name in [*kube, "/kubectl:"]:
                link = tarfile.TarInfo(f"usr/local/bin/{_program(name)}")
                link.type, link.linkname = tarfile.SYMTYPE, "kube"
                layer.addfile(link)
        with tarfile.open(sandbox, "w") as layer:
            layer.add(binaries.pause(), "pause")
        layers, env = [tools, program], {"Env": [_PATH]}
        kindnetd = {**env, "Entrypoint": ["kindnetd"]}
        images = [
            archives.Image(kube, layers, env),
            archives.Image([_kindnetd(sources)], layers, kindnetd),
            archives.Image(pause, [sandbox], {"Entrypoint": ["/pause"]}),
        ]
        archives.write(file, images)


def _program(image: str) -> str:
    """Give the name of the program in an image of Kubernetes."""
    return image.rpartition("/")[2].partition(":")[0]
