"""
The project's own image, built from its Dockerfile as a user would build it.

What differs is where the parts come from: there is no registry to pull a base
image from, so one is made of Debian packages, with Python and nothing of ours;
the wheels of the lock file are fetched before, so that the build needs no
network; and the native engine's wheel is the one of `engine`, in place of the
stage that would build it: where there is no cargo, the image goes without.
buildah keeps its layers in the cache and decides what a change of the sources
makes anew: seconds, where the first build takes minutes.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from e2e.cluster import cache, debian, engine, processes

_CHECKOUT = Path(__file__).parents[2]
_BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_NOT_IN_BASE = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_STORE_AT_MOST_BYTES = 4 << 30
_IMAGES_KEPT = 5


def build() -> Path:
    """
    Give the image of this checkout's sources, as an OCI layout directory.

    Raises:
        Failed: it cannot be built; the text has the builder's last words.
    """
    base, wheels, native = _base(), _wheelhouse(), engine.wheel()
    store = cache.root() / "buildah"
    store.mkdir(parents=True, exist_ok=True)
    with (store / "lock").open("w") as held, tempfile.TemporaryDirectory() as directory:
        fcntl.flock(held, fcntl.LOCK_EX)
        _bound(store / "storage")
        began = time.monotonic()
        builder = _Builder(store, Path(directory))
        name = builder.import_base(base)
        image = builder.build(name, wheels, native)
        made = cache.entry(f"image/{image[:16]}", lambda folder: builder.save(image, folder))
        _keep_newest(made)
        print(f"built the image in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return made


class _Builder:
    """buildah with a store of its own, which `build` has locked."""

    def __init__(self, store: Path, directory: Path) -> None:
        self._directory = directory
        self._global = [
            f"--root={store}/storage",
            f"--runroot={directory}/run",
            "--storage-driver=overlay",
        ]
        self._policy = f"--signature-policy={debian.tree()}/etc/containers/policy.json"

    def import_base(self, base: Path) -> str:
        """Make the base's one layer an image, unless it is; return its name."""
        name = f"localhost/wasm-node-base:{base.name}"
        if self._run("images", "--quiet", "--filter", f"reference={name}"):
            return name
        container = self._run("from", self._policy, "scratch")
        self._run("add", "--quiet", container, str(base / "base.tar"), "/")
        self._run("config", "--env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", container)
        self._run("commit", self._policy, "--quiet", "--rm", container, name)
        return name

    def build(self, base: str, wheels: Path, native: Path | None) -> str:
        """
        Build the Dockerfile on a base; return the image's id.

        Args:
            base: the name of an image.
            wheels: the directory of what the lock file names.
            native: the native engine's wheel, alone in its directory; None:
                the image goes without.
        """
        without = "" if native else " without the native engine, as there is no cargo"
        print(f"building the image{without}", file=sys.stderr)
        nothing = self._directory / "nothing"
        nothing.mkdir()
        id_file = self._directory / "id"
        self._run(
            "bud",
            self._policy,
            "--quiet",
            "--isolation=chroot",
            "--layers",
            "--pull-never",
            f"--build-arg=BASE_IMAGE={base}",
            "--build-arg=PIP_ARGS=--no-index --find-links=/wheelhouse",
            f"--volume={wheels}:/wheelhouse:ro",
            f"--build-context=engine={native.parent if native else nothing}",
            f"--iidfile={id_file}",
            str(_CHECKOUT),
        )
        return id_file.read_text().strip().removeprefix("sha256:")

    def save(self, image: str, folder: Path) -> None:
        """Write an image to an empty directory."""
        self._run("push", self._policy, "--quiet", image, f"oci:{folder}")

    def _run(self, *words: str) -> str:
        return _run(*debian.as_installed("nice", "buildah", *self._global, *words)).strip()


def _base() -> Path:
    def make(folder: Path) -> None:
        print("making a base image of Debian packages: a minute", file=sys.stderr)
        sources = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
        given = next(str(each) for each in sources if each.exists())
        excluded = [f"--dpkgopt=path-exclude={each}" for each in _NOT_IN_BASE]
        packages = f"--include={','.join(_BASE_PACKAGES)}"
        words = ["--variant=minbase", "--mode=root", packages, *excluded, "bookworm"]
        _run(*debian.as_installed("nice", "mmdebstrap", *words, folder / "base.tar", given))

    digest = hashlib.sha256(repr((_BASE_PACKAGES, _NOT_IN_BASE)).encode()).hexdigest()
    return cache.entry(f"base/{digest[:16]}", make)


def _wheelhouse() -> Path:
    lock = _CHECKOUT / "requirements-image.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()

    def make(folder: Path) -> None:
        print("fetching the image's wheels", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        words = ["--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
        _run(*pip, "download", *words, "--dest", str(folder))

    return cache.entry(f"wheels/{digest[:16]}", make)


def _bound(storage: Path) -> None:
    """Begin anew when layers of many old sources have piled up."""
    used = sum(each.lstat().st_blocks * 512 for each in storage.rglob("*"))
    if used > _STORE_AT_MOST_BYTES:
        shutil.rmtree(storage)


def _keep_newest(image: Path) -> None:
    """Remove the images of sources that were not built for long."""
    os.utime(image)
    images = [each for each in image.parent.iterdir() if each.is_dir()]
    for old in sorted(images, key=lambda each: each.stat().st_mtime)[:-_IMAGES_KEPT]:
        shutil.rmtree(old)


def _run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise processes.Failed(f"cannot build the image: {last}")
    return done.stdout
