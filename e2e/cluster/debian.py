"""
Programs of Debian packages, unpacked into the cache instead of installed.

docker, runc, nft, buildah and the CNI plugins need more than a Go module.
apt resolves and verifies what this machine lacks for them; dpkg unpacks it
into one tree, and whoever uses it sees it laid over /usr in mounts of its own.
So nothing on the machine changes, and a fresh one has the programs in seconds.
"""

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from e2e.cluster import cache, processes

_PACKAGES = (
    "buildah",
    "containernetworking-plugins",
    "docker.io",
    "mmdebstrap",
    "nftables",
    "runc",
)
_NOT_IN_ROOT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_OVER_USR = 'mount -t overlay -o "lowerdir=$0/usr:/usr" overlay /usr && exec "$@"'


@functools.cache
def tree() -> Path:
    """
    Give the tree of the unpacked packages: `usr/sbin/runc` and so on.

    Raises:
        Failed: a package cannot be had; the text has apt's own words.
    """
    policy = _run("apt-cache", "policy", *_PACKAGES)
    if "Candidate: (none)" in policy or not policy:
        _run("apt-get", "update")
        policy = _run("apt-cache", "policy", *_PACKAGES)
    candidates = [line for line in policy.splitlines() if "Candidate:" in line]
    digest = hashlib.sha256(repr((_PACKAGES, candidates)).encode()).hexdigest()
    return cache.entry(f"debian/{digest[:16]}", _unpack)


def as_installed(*argv: str | os.PathLike[str]) -> list[str]:
    """Give the words that run a program as if the packages were installed."""
    words = [os.fspath(word) for word in argv]
    return ["unshare", "--mount", "sh", "-c", _OVER_USR, str(tree()), *words]


def root(packages: Iterable[str], to: Path, *options: str) -> None:
    """
    Write the archive of a Debian with these packages, as an image's layer.

    Args:
        packages: what is installed beside the least that there is.
        to: the tar to write.
        options: more words for mmdebstrap.

    Raises:
        Failed: it cannot be made; the text has mmdebstrap's own words.
    """
    sources = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    given = next(str(each) for each in sources if each.exists())
    excluded = [f"--dpkgopt=path-exclude={each}" for each in _NOT_IN_ROOT]
    words = ["--variant=minbase", "--mode=root", f"--include={','.join(packages)}", *excluded]
    _run(*as_installed("nice", "mmdebstrap", *words, *options, "bookworm", to, given))


def _unpack(folder: Path) -> None:
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    (folder / "usr/lib/modules").mkdir(parents=True)  # kind shows it to its nodes
    words = ["--yes", "--download-only", "--reinstall", "--no-install-recommends", "--quiet"]
    options = [f"-oDir::Cache::archives={archives}", "-oDebug::NoLocking=true"]
    _run("apt-get", "install", *words, *options, *_PACKAGES)
    for package in archives.glob("*.deb"):
        _run("dpkg", "--extract", str(package), str(folder))
    shutil.rmtree(archives)


def _run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise processes.Failed(f"cannot {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
