"""
Where this process stands in the host's control groups; pure, texts in.

Both versions may be mounted at once (hybrid hosts): then version 2 has no
controllers, and version 1 is what counts. In a container the mount shows only
a part of the tree, so paths are taken relative to the mount's root.
"""

from pathlib import Path


def controllers(own: str, mounts: str) -> dict[str, Path]:
    """
    Map each version 1 controller to the directory of our own group.

    `own` is the text of /proc/self/cgroup, `mounts` of /proc/self/mountinfo.
    """
    groups: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        groups |= dict.fromkeys(names.split(","), path)
    found: dict[str, Path] = {}
    for kind, root, point, options in _mounts(mounts):
        if kind == "cgroup":
            for name in options.split(","):
                if name in groups:
                    found[name] = _below(point, root, groups[name])
    return found


def unified(own: str, mounts: str) -> Path | None:
    """Return the directory of our own version 2 group, if that is mounted."""
    paths = [line[3:] for line in own.splitlines() if line.startswith("0::")]
    points = [each for each in _mounts(mounts) if each[0] == "cgroup2"]
    if not paths or not points:
        return None
    _, root, point, _ = points[0]
    return _below(point, root, paths[0])


def _mounts(text: str) -> list[tuple[str, str, str, str]]:
    found = []
    for line in text.splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        root, point = mount.split(" ")[3:5]
        found.append((kind, root, point, options))
    return found


def _below(point: str, root: str, group: str) -> Path:
    relative = group.removeprefix(root) if root != "/" else group
    return Path(point) / relative.lstrip("/")
