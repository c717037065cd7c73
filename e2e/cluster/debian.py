"""
Programs of Debian packages, unpacked into the cache instead of installed.

runc, nft, buildah and the CNI plugins are C or need more than a Go module.
apt resolves and verifies what this machine lacks for them; dpkg unpacks it
into one tree, and whoever uses it sees it laid over /usr in mounts of its own.
So nothing on the machine changes, and a fresh one has the programs in seconds.
"""

import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from e2e.cluster import cache, processes

_PACKAGES = ("buildah", "containernetworking-plugins", "mmdebstrap", "nftables", "runc")
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


def _unpack(folder: Path) -> None:
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
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
